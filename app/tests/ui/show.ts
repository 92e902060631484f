/** Puts a component on the page and waits until it is drawn. */
import type { LitElement } from 'lit';

export async function show<T extends LitElement>(element: T, properties: Partial<T> = {}): Promise<T> {
  Object.assign(element, properties);
  document.body.replaceChildren(element);
  await element.updateComplete;
  return element;
}

/** What a person reads in it. */
export function words(element: LitElement): string {
  const copy = element.renderRoot.cloneNode(true) as HTMLElement;
  return (copy.textContent ?? '').replace(/\s+/g, ' ').trim();
}
