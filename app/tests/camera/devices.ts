/** Cameras to plug in, refuse, mute and pull out: the browser's side of Camera, for tests. */

export class FakeTrack extends EventTarget {
  stopped = false;
  muted = false;
  applied: unknown[] = [];

  constructor(
    readonly deviceId: string,
    readonly capabilities: object = {},
  ) {
    super();
  }

  stop(): void {
    this.stopped = true;
  }

  getSettings() {
    return { deviceId: this.deviceId };
  }

  getCapabilities() {
    return this.capabilities;
  }

  applyConstraints(constraints: unknown): Promise<void> {
    this.applied.push(constraints);
    return Promise.resolve();
  }

  /** The camera goes away by itself. */
  end(): void {
    this.stopped = true;
    this.dispatchEvent(new Event('ended'));
  }
}

export class FakeDevices extends EventTarget {
  readonly tracks: FakeTrack[] = [];
  readonly asked: MediaStreamConstraints[] = [];
  /** The next getUserMedia rejects with this. */
  refusal: string | null = null;
  /** When set, getUserMedia waits for it. */
  gate: Promise<void> | null = null;
  capabilities: object = {};

  constructor(public ids: string[] = ['back']) {
    super();
  }

  async getUserMedia(constraints: MediaStreamConstraints): Promise<MediaStream> {
    this.asked.push(constraints);
    await this.gate;
    const { deviceId } = constraints.video as { deviceId?: { exact: string } };
    if (this.refusal) throw new DOMException('refused', this.refusal);
    const id = deviceId?.exact ?? this.ids[0];
    if (id === undefined) throw new DOMException('none', 'NotFoundError');
    if (!this.ids.includes(id)) throw new DOMException('gone', 'OverconstrainedError');
    const track = new FakeTrack(id, this.capabilities);
    this.tracks.push(track);
    return { getTracks: () => [track], getVideoTracks: () => [track] } as unknown as MediaStream;
  }

  enumerateDevices(): Promise<MediaDeviceInfo[]> {
    return Promise.resolve(this.ids.map((deviceId) => ({ kind: 'videoinput', deviceId }) as MediaDeviceInfo));
  }

  get last(): FakeTrack {
    return this.tracks.at(-1)!;
  }
}
