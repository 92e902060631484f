/** What page and service worker say to each other. */

/** To the service worker. */
export type ToWorker =
  /** The user agreed: take over from the version that runs. */
  | { kind: 'activate' }
  /** Answer on the port that comes along with the text of your version's catalog.json, or null. */
  | { kind: 'catalog' };

/** From the service worker, while it stores the app's own files. */
export interface ShellProgress {
  kind: 'shell';
  done: number;
  total: number;
}
