/** Custom properties of an element, set through CSSOM: the page's policy forbids style attributes. */
import { noChange, type ElementPart } from 'lit';
import { Directive, directive } from 'lit/directive.js';

class Properties extends Directive {
  render(_values: Record<`--${string}`, string | number>): unknown {
    return noChange;
  }

  override update(part: ElementPart, [values]: [Record<`--${string}`, string | number>]): unknown {
    const { style } = part.element as HTMLElement;
    for (const [name, value] of Object.entries(values)) style.setProperty(name, String(value));
    return noChange;
  }
}

/** `<div ${properties({ '--share': 0.4 })}>` */
export const properties = directive(Properties);
