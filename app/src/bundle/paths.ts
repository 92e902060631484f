/** Names inside a zip that are safe on every system. */

const SEGMENT = '[A-Za-z0-9_](?:[A-Za-z0-9_.+ -]*[A-Za-z0-9_+-])?';
const PATH = new RegExp(`^(?=.{1,200}$)${SEGMENT}(?:/${SEGMENT})*$`);

/** What a graph may be called: one segment of at most 64 characters. */
export const GRAPH_NAME = new RegExp(`^(?=.{1,64}$)${SEGMENT}$`);

/**
 * Whether a path is relative, plain, and stays in its folder.
 *
 * Segments neither start with a dot nor end with a dot or blank (Windows drops those), so ".." cannot occur.
 */
export function isSafePath(path: string): boolean {
  return PATH.test(path);
}
