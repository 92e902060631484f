/**
 * The phone's camera, as a state that the page shows.
 *
 * It runs only while the page is visible and holds the lock `pocketlens.camera`, which the tab that was used last takes
 * over. Tracks die without a word (a call comes in, an hour in the background), so coming back always opens anew.
 */
import { Signal } from '../store/signal.ts';
import { lensOf, setLens, type Lens } from './lens.ts';
import { troubleOf, type Trouble } from './trouble.ts';

export type CameraState =
  | { kind: 'off' }
  | { kind: 'opening' }
  /** `still` while the system withholds frames, for example during a call. */
  | { kind: 'live'; deviceId: string; cameras: number; lens: Lens; torch: boolean; zoom: number; still: boolean }
  /** Another tab shows the camera now. */
  | { kind: 'elsewhere' }
  | { kind: 'failed'; trouble: Trouble };

const LOCK = 'pocketlens.camera';
/** A camera that ends more often than this within a minute is broken, not busy. */
const REOPENINGS = 3;

export class Camera {
  readonly state = new Signal<CameraState>({ kind: 'off' });
  private stream: MediaStream | null = null;
  private wanted = false;
  private deviceId: string | null = null;
  private letGo: (() => void) | null = null;
  private attempt = 0;
  private endings: number[] = [];

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly devices: MediaDevices | undefined = navigator.mediaDevices,
  ) {
    document.addEventListener('visibilitychange', () =>
      document.hidden ? this.release({ kind: 'off' }) : this.resume(),
    );
    window.addEventListener('pagehide', () => this.release({ kind: 'off' }));
    window.addEventListener('pageshow', (event) => event.persisted && this.resume());
    this.devices?.addEventListener('devicechange', () => void this.recount());
  }

  /** Open the camera `deviceId`, or the one at the back; where the page is hidden, once it no longer is. */
  async start(deviceId: string | null): Promise<void> {
    this.wanted = true;
    this.deviceId = deviceId;
    this.endings = [];
    if (!document.hidden) await this.open();
  }

  stop(): void {
    this.wanted = false;
    this.release({ kind: 'off' });
  }

  /** Go on to the next camera. Returns its deviceId. */
  async next(): Promise<string | null> {
    const ids = await this.list();
    const here = this.state.value.kind === 'live' ? ids.indexOf(this.state.value.deviceId) : -1;
    await this.start(ids[(here + 1) % ids.length] ?? null);
    return this.deviceId;
  }

  async setTorch(torch: boolean): Promise<void> {
    const track = this.track();
    if (track && (await setLens(track, { torch }))) this.update({ torch });
  }

  async setZoom(zoom: number): Promise<void> {
    const track = this.track();
    if (track && (await setLens(track, { zoom }))) this.update({ zoom });
  }

  private track(): MediaStreamTrack | undefined {
    return this.stream?.getVideoTracks()[0];
  }

  private update(fields: Partial<Extract<CameraState, { kind: 'live' }>>): void {
    if (this.state.value.kind === 'live') this.state.value = { ...this.state.value, ...fields };
  }

  private resume(): void {
    if (this.wanted && this.state.value.kind === 'off') void this.open();
  }

  private async open(): Promise<void> {
    this.release({ kind: 'opening' });
    const attempt = ++this.attempt;
    if (!this.devices) {
      this.state.value = { kind: 'failed', trouble: 'insecure' };
      return;
    }
    try {
      const stream = await this.ask(this.devices);
      // Hidden, stopped or asked again meanwhile: this stream is nobody's.
      if (attempt !== this.attempt) return stop(stream);
      await this.show(stream);
    } catch (error) {
      if (attempt === this.attempt) this.release({ kind: 'failed', trouble: troubleOf(error) });
    }
  }

  private async ask(devices: MediaDevices): Promise<MediaStream> {
    const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
    const back = { video: { ...size, facingMode: { ideal: 'environment' } }, audio: false };
    if (this.deviceId === null) return devices.getUserMedia(back);
    try {
      return await devices.getUserMedia({ video: { ...size, deviceId: { exact: this.deviceId } }, audio: false });
    } catch (error) {
      // The camera chosen earlier is unplugged, or its id was renewed: take the one at the back.
      if (troubleOf(error) !== 'none') throw error;
      this.deviceId = null;
      return devices.getUserMedia(back);
    }
  }

  private async show(stream: MediaStream): Promise<void> {
    this.stream = stream;
    const track = stream.getVideoTracks()[0];
    if (!track) throw new DOMException('the stream has no video', 'NotFoundError');
    track.addEventListener('ended', () => this.ended(stream));
    track.addEventListener('mute', () => this.update({ still: true }));
    track.addEventListener('unmute', () => this.update({ still: false }));
    this.claim(stream);
    this.video.srcObject = stream;
    await this.video.play();
    if (this.stream !== stream) return;
    const { deviceId = '', zoom } = track.getSettings() as MediaTrackSettings & { zoom?: number };
    const lens = lensOf(track);
    const cameras = Math.max(1, (await this.list()).length);
    if (this.stream !== stream) return;
    this.state.value = { kind: 'live', deviceId, cameras, lens, torch: false, zoom: zoom ?? 1, still: track.muted };
  }

  /** Take the camera over from any other tab, and notice when one takes it from this. */
  private claim(stream: MediaStream): void {
    if (!navigator.locks) return;
    const held = new Promise<void>((resolve) => (this.letGo = resolve));
    navigator.locks
      .request(LOCK, { steal: true }, () => held)
      .catch(() => this.stream === stream && this.release({ kind: 'elsewhere' }));
  }

  private ended(stream: MediaStream): void {
    if (this.stream !== stream) return;
    const now = Date.now();
    this.endings = [...this.endings.filter((then) => now - then < 60_000), now];
    if (this.endings.length > REOPENINGS) this.release({ kind: 'failed', trouble: 'stopped' });
    else void this.open();
  }

  private release(state: CameraState): void {
    this.attempt++;
    stop(this.stream);
    this.stream = null;
    this.video.srcObject = null;
    this.letGo?.();
    this.letGo = null;
    this.state.value = state;
  }

  private async list(): Promise<string[]> {
    const all = (await this.devices?.enumerateDevices()) ?? [];
    return all.filter((device) => device.kind === 'videoinput').map((device) => device.deviceId);
  }

  /** A camera came or went: count again, and leave one that is no longer there. */
  private async recount(): Promise<void> {
    const ids = await this.list();
    const state = this.state.value;
    if (state.kind === 'live') this.update({ cameras: Math.max(1, ids.length) });
    else if (state.kind === 'failed' && state.trouble === 'none' && ids.length > 0 && !document.hidden)
      await this.open();
  }
}

function stop(stream: MediaStream | null): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
