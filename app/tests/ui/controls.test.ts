// @vitest-environment happy-dom
import { expect, test, vi } from 'vitest';
import { Controls } from '../../src/ui/controls.ts';
import { Modes } from '../../src/ui/modes.ts';
import { curve } from '../../src/ui/sparkline.ts';
import { stops } from '../../src/ui/zoom.ts';
import { show } from './show.ts';

const button = (element: { renderRoot: ParentNode }, label: string) =>
  element.renderRoot.querySelector<HTMLButtonElement>(`button[aria-label="${label}"]`)!;

test('the shutter waits for the camera, then freezes, then leads back', async () => {
  const controls = await show(new Controls());
  expect(button(controls, 'Freeze the picture').disabled).toBe(true);
  await show(controls, { ready: true });
  const shutter = vi.fn();
  controls.addEventListener('shutter', shutter);
  button(controls, 'Freeze the picture').click();
  await show(controls, { still: true, ready: false });
  button(controls, 'Back to the camera').click();
  expect(shutter).toHaveBeenCalledTimes(2);
  expect(button(controls, 'Save this photo')).not.toBeNull();
});

test('one camera cannot be switched', async () => {
  const controls = await show(new Controls(), { ready: true });
  expect(button(controls, 'Switch camera').disabled).toBe(true);
});

test('tabs: the chosen one is in the tab order, arrows reach the others, text says that it is to come', async () => {
  const modes = await show(new Modes(), { mode: 'products' });
  const tabs = [...modes.renderRoot.querySelectorAll<HTMLButtonElement>('[role=tab]')];
  expect(tabs.map((tab) => tab.tabIndex)).toEqual([-1, 0, -1, -1]);
  expect(tabs.map((tab) => tab.getAttribute('aria-disabled'))).toEqual(['false', 'false', 'false', 'true']);
  tabs[1]!.focus();
  tabs[1]!.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));
  expect((modes.renderRoot as ShadowRoot).activeElement).toBe(tabs[2]);
  const chosen = vi.fn();
  modes.addEventListener('choose', (event) => chosen((event as CustomEvent).detail));
  tabs[3]!.click();
  expect(chosen).toHaveBeenCalledWith('text');
});

test.each([
  [{ min: 1, max: 8 }, [1, 2, 5]],
  [{ min: 0.5, max: 2 }, [0.5, 1, 2]],
  [{ min: 1, max: 1.5 }, [1]],
])('zoom of %o stops at %o', (zoom, steps) => expect(stops(zoom)).toEqual(steps));

test('a curve by hand, with a gap, and of nothing', () => {
  expect(curve([0, 10, null, 5])).toBe('0.0,31.0 40.0,1.0 120.0,16.0');
  expect(curve([])).toBe('');
});
