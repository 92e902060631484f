/** The app's IndexedDB: own galleries, and the monitor's history. Photos and frames are never in it. */
import { openDB, type DBSchema, type IDBPDatabase } from 'idb';
import type { OwnGallery } from './own-gallery.ts';
import type { Sample } from '../monitor/sample.ts';

export interface Schema extends DBSchema {
  galleries: { key: string; value: OwnGallery };
  samples: { key: number; value: Sample };
}

export type Database = IDBPDatabase<Schema>;

const NAME = 'pocketlens';

/**
 * Open the database, or null where the browser has none (some private windows) or refuses it; what would be kept then
 * lasts until the page is closed.
 */
export async function openDatabase(): Promise<Database | null> {
  if (!('indexedDB' in globalThis)) return null;
  try {
    const database: Database = await openDB<Schema>(NAME, 1, {
      upgrade(created) {
        created.createObjectStore('galleries', { keyPath: 'id' });
        created.createObjectStore('samples', { keyPath: 'at' });
      },
      // A newer app in another tab wants to change the layout: this one would hold it up for ever.
      blocking: () => database.close(),
    });
    return database;
  } catch {
    return null;
  }
}
