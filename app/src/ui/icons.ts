/** The app's icons: strokes on a grid of 24, drawn in the colour of the text around them. */
import { html, svg, type SVGTemplateResult, type TemplateResult } from 'lit';

const icon = (strokes: SVGTemplateResult): TemplateResult => html`
  <svg
    class="icon"
    viewBox="0 0 24 24"
    fill="none"
    stroke="currentColor"
    stroke-width="1.8"
    stroke-linecap="round"
    stroke-linejoin="round"
    aria-hidden="true"
  >
    ${strokes}
  </svg>
`;

export const icons = {
  album: icon(
    svg`<rect x="3.5" y="4.5" width="17" height="15" rx="3.5"/><circle cx="9" cy="9.8" r="1.6"/><path d="m4 17 4.6-4.2a1.6 1.6 0 0 1 2.2 0l2.4 2.3 1.9-1.7a1.6 1.6 0 0 1 2.1 0l3.1 2.7"/>`,
  ),
  flip: icon(
    svg`<path d="M4.5 10.5A7.8 7.8 0 0 1 19 8.2M19.5 13.5A7.8 7.8 0 0 1 5 15.8"/><path d="M19.6 3.9v4.4h-4.4M4.4 20.1v-4.4h4.4"/>`,
  ),
  torch: icon(svg`<path d="M13.2 3 5.8 13.2a.8.8 0 0 0 .7 1.3h4.6L10 21l7.9-10.4a.8.8 0 0 0-.6-1.3h-4.7z"/>`),
  settings: icon(
    svg`<path d="M4 8h8.5M18.5 8H20M4 16h1.5M11.5 16H20"/><circle cx="15.5" cy="8" r="2.6"/><circle cx="8.5" cy="16" r="2.6"/>`,
  ),
  close: icon(svg`<path d="m6.5 6.5 11 11M17.5 6.5l-11 11"/>`),
  chevron: icon(svg`<path d="m9.5 5.5 6.5 6.5-6.5 6.5"/>`),
  back: icon(svg`<path d="M14.5 5.5 8 12l6.5 6.5"/>`),
  up: icon(svg`<path d="M5.5 14.5 12 8l6.5 6.5"/>`),
  plus: icon(svg`<path d="M12 5v14M5 12h14"/>`),
  pencil: icon(svg`<path d="m5 15.6-.8 4.2 4.2-.8L19 8.4a2.4 2.4 0 0 0-3.4-3.4z"/><path d="m13.6 7 3.4 3.4"/>`),
  trash: icon(
    svg`<path d="M4.5 7h15M9.5 7V5a1 1 0 0 1 1-1h3a1 1 0 0 1 1 1v2M6.5 7l.8 11.2A2 2 0 0 0 9.3 20h5.4a2 2 0 0 0 2-1.8L17.5 7"/>`,
  ),
  out: icon(svg`<path d="M12 14.5V3.5M8 7l4-3.6L16 7"/><path d="M5 12.5V18a2 2 0 0 0 2 2h10a2 2 0 0 0 2-2v-5.5"/>`),
  into: icon(svg`<path d="M12 3.5v11M8 11l4 3.6 4-3.6"/><path d="M5 12.5V18a2 2 0 0 0 2 2h10a2 2 0 0 0 2-2v-5.5"/>`),
  collection: icon(
    svg`<rect x="4" y="4" width="7" height="7" rx="2"/><rect x="13" y="4" width="7" height="7" rx="2"/><rect x="4" y="13" width="7" height="7" rx="2"/><path d="M16.5 13.5v6M13.5 16.5h6"/>`,
  ),
  undo: icon(svg`<path d="M5 9.5h9.5a5 5 0 0 1 0 10H9"/><path d="M8.6 5.5 4.6 9.5l4 4"/>`),
  check: icon(svg`<path d="m5 12.5 4.8 4.8L19.5 7"/>`),
  pulse: icon(svg`<path d="M3.5 12.5h4l2.5-7 4 13 2.5-6h4"/>`),
  lock: icon(svg`<rect x="5" y="10.5" width="14" height="9.5" rx="3"/><path d="M8 10.5V8a4 4 0 0 1 8 0v2.5"/>`),
  centre: icon(
    svg`<path d="M4 9V7a3 3 0 0 1 3-3h2M15 4h2a3 3 0 0 1 3 3v2M20 15v2a3 3 0 0 1-3 3h-2M9 20H7a3 3 0 0 1-3-3v-2"/><circle cx="12" cy="12" r="1.2"/>`,
  ),
  camera: icon(
    svg`<path d="M4 9.5a2.5 2.5 0 0 1 2.5-2.5h1.7l1.3-2h5l1.3 2h1.7A2.5 2.5 0 0 1 20 9.5V16a2.5 2.5 0 0 1-2.5 2.5h-11A2.5 2.5 0 0 1 4 16z"/><circle cx="12" cy="12.7" r="3.2"/>`,
  ),
  noCamera: icon(
    svg`<path d="M8.2 6.6 9.5 5h5l1.3 2h1.7A2.5 2.5 0 0 1 20 9.5v6.8M17 18.5H6.5A2.5 2.5 0 0 1 4 16V9.5A2.5 2.5 0 0 1 5.5 7.2M9.7 10.6a3.2 3.2 0 0 0 4.4 4.5M4 4l16 16"/>`,
  ),
  home: icon(svg`<rect x="6.5" y="3" width="11" height="18" rx="3"/><path d="M12 8v6M9.5 11.7 12 14.2l2.5-2.5"/>`),
  gauge: icon(
    svg`<path d="M5.6 18a8.5 8.5 0 1 1 12.8 0"/><path d="m12 13.5 3.6-4.2"/><circle cx="12" cy="13.5" r="1.2"/>`,
  ),
};

/** The brand: a lens that looks out of a pocket. */
export const mark = html`
  <svg viewBox="0 0 48 48" fill="none" aria-hidden="true">
    <circle cx="24" cy="19" r="13.5" fill="#15233f" stroke="currentColor" stroke-width="3" />
    <path d="M16.6 18.4a7.4 7.4 0 0 1 6.2-6.6" stroke="#fff" stroke-width="2.2" stroke-linecap="round" />
    <circle cx="30" cy="14.6" r="1.2" fill="#8ff0de" />
    <path d="M6 26a2 2 0 0 1 2-2h32a2 2 0 0 1 2 2v6.5a12 12 0 0 1-12 12H18a12 12 0 0 1-12-12z" fill="var(--brand)" />
    <path
      d="M9.5 28.3h29"
      stroke="#e3fff9"
      stroke-width="1"
      stroke-linecap="round"
      stroke-dasharray="2.2 2"
      opacity="0.85"
    />
  </svg>
`;
