/** Keeps the screen on while it is wanted; the browser drops the lock whenever the page is hidden. */
export class Awake {
  private wanted = false;
  private sentinel: WakeLockSentinel | null = null;

  constructor() {
    document.addEventListener('visibilitychange', () => void this.apply());
  }

  async keep(wanted: boolean): Promise<void> {
    this.wanted = wanted;
    await this.apply();
  }

  private async apply(): Promise<void> {
    if (!('wakeLock' in navigator) || document.hidden) return;
    if (!this.wanted) {
      await this.sentinel?.release();
      this.sentinel = null;
    } else if (this.sentinel?.released !== false) {
      // Refused when the battery is low: the screen then does as it always does.
      this.sentinel = await navigator.wakeLock.request('screen').catch(() => null);
    }
  }
}
