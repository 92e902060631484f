// @vitest-environment happy-dom
import { describe, expect, test } from 'vitest';
import { historyFile } from '../../src/monitor/export.ts';
import { History } from '../../src/monitor/history.ts';
import { Monitor } from '../../src/monitor/monitor.ts';
import { percentile } from '../../src/monitor/percentile.ts';
import type { Timing } from '../../src/monitor/sample.ts';

const way = { graph: 'float', provider: 'wasm', threads: 1 } as const;
const timing = (inference: number): Timing => ({
  grab: 1,
  preprocess: 2,
  inference,
  postprocess: 1,
  around: 4,
  label: inference + 5,
});

test.each([
  [[3, 1, 2], 0.5, 2],
  [[1, 2], 0.5, 1.5],
  [[1, 2, 3, 4, 5], 0.95, 4.8],
  [[7], 0.95, 7],
])('of %s, the share %d lies below %d', (values, share, value) => expect(percentile(values, share)).toBeCloseTo(value));

describe('monitor', () => {
  /** Frames every `step` ms for `seconds`, two shown for one taken. */
  function run(seconds: number, step: number, inference: (at: number) => number) {
    let at = 0;
    const history = new History(null);
    const monitor = new Monitor(history, () => at);
    for (; at <= seconds * 1000; at += step) monitor.record(timing(inference(at)), way, 2);
    return { history, monitor };
  }

  test('counts looks a second and passed frames, and closes a row each ten seconds', async () => {
    const { history, monitor } = run(35, 100, () => 10);
    expect(monitor.now.value?.fps).toBeCloseTo(10, 0);
    const rows = await history.samples();
    expect(rows).toHaveLength(3);
    expect(rows[1]!.dropped).toBeCloseTo(100, -1);
    expect(rows[1]!.stages.inference).toEqual({ p50: 10, p95: 10 });
    expect(rows[1]!.drift).toBeNull();
  });

  test('right after a row, figures are of the last seconds still', () => {
    const { monitor } = run(11.5, 100, () => 10);
    expect(monitor.now.value?.fps).toBeCloseTo(10, 0);
  });

  test('a phone that slows down drifts from its first minute', () => {
    const { monitor } = run(100, 100, (at) => (at < 60_000 ? 10 : 15));
    expect(monitor.now.value?.drift).toBeCloseTo(1.5);
  });

  test('another way begins a first minute of its own', () => {
    let at = 0;
    const monitor = new Monitor(new History(null), () => at);
    for (; at < 70_000; at += 500) monitor.record(timing(10), way, 1);
    for (; at < 75_000; at += 500) monitor.record(timing(30), { ...way, threads: 2 }, 1);
    expect(monitor.now.value?.drift).toBeNull();
  });

  test('an hour without the camera is in no figure', () => {
    let at = 0;
    const monitor = new Monitor(new History(null), () => at);
    for (; at < 5000; at += 100) monitor.record(timing(10), way, 1);
    monitor.pause();
    at += 3_600_000;
    for (const end = at + 2000; at < end; at += 100) monitor.record(timing(10), way, 1);
    expect(monitor.now.value?.fps).toBeCloseTo(11, 0);
  });
});

test('the export says what it is of', async () => {
  const content = JSON.parse(await historyFile([], 'a browser').text());
  expect(content).toMatchObject({ agent: 'a browser', samples: [] });
});
