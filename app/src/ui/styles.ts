/** What all components share: boxes, focus, buttons, bars, and grouped rows. Colours are tokens of page.css. */
import { css } from 'lit';

export const base = css`
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  :focus-visible {
    outline: 3px solid var(--accent);
    outline-offset: 2px;
  }
  h1,
  h2,
  h3,
  p,
  ul,
  ol {
    margin: 0;
    padding: 0;
  }
  ul,
  ol {
    list-style: none;
  }
  svg {
    display: block;
  }
  .icon {
    flex: none;
    width: 1.5rem;
    height: 1.5rem;
  }
  [hidden] {
    display: none !important;
  }
  .visually-hidden {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
`;

export const buttons = css`
  button,
  .button {
    font: inherit;
    color: inherit;
    min-width: 3rem;
    min-height: 3rem;
    border: 0;
    border-radius: 1.5rem;
    background: none;
    cursor: pointer;
    touch-action: manipulation;
    user-select: none;
    -webkit-user-select: none;
    transition:
      transform var(--quick),
      background-color var(--quick);
  }
  button:active:not(:disabled) {
    transform: scale(0.96);
  }
  button:disabled {
    opacity: 0.45;
    cursor: default;
  }
  .round {
    display: grid;
    place-items: center;
    width: 3rem;
    height: 3rem;
    border-radius: 50%;
    flex: none;
    padding: 0;
  }
  .pill {
    display: inline-flex;
    align-items: center;
    justify-content: center;
    gap: 0.5rem;
    padding: 0.625rem 1.25rem;
    font-weight: 600;
    text-align: center;
    text-decoration: none;
    background: var(--raised);
    color: var(--ink);
  }
  .pill.primary {
    background: var(--accent);
    color: var(--on-accent);
  }
  .pill.danger {
    color: var(--danger);
  }
  .glass {
    color: #fff;
    background: var(--glass);
  }
`;

/** A share, --share, as a filled line; who uses it says how high it is. */
export const bar = css`
  .bar {
    border-radius: 1rem;
    background: var(--line);
    overflow: hidden;
  }
  .bar::before {
    content: '';
    display: block;
    height: 100%;
    border-radius: inherit;
    background: var(--accent);
    transform-origin: left;
    transform: scaleX(var(--share));
    transition: transform var(--calm);
  }
`;

export const rows = css`
  .group {
    background: var(--raised);
    border-radius: var(--radius);
    overflow: hidden;
  }
  .group + .group,
  .note + .group {
    margin-top: 1rem;
  }
  .group-title + .group,
  .note {
    margin-top: 0.5rem;
  }
  .group-title {
    margin: 1.5rem 1rem 0;
    font-size: 0.875rem;
    font-weight: 600;
    color: var(--muted);
  }
  .group-title:first-child {
    margin-top: 0.25rem;
  }
  .note {
    margin-inline: 1rem;
    font-size: 0.875rem;
    color: var(--muted);
  }
  .row {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.25rem 1rem;
    width: 100%;
    min-height: 3.25rem;
    padding: 0.375rem 1rem;
    text-align: start;
    border-radius: 0;
  }
  .row + .row {
    border-top: 1px solid var(--line);
  }
  .row .name {
    flex: 1 1 6rem;
    min-width: 0;
    overflow-wrap: anywhere;
  }
  .row .value {
    color: var(--muted);
    font-variant-numeric: tabular-nums;
  }
  .row small {
    display: block;
    font-size: 0.875rem;
    color: var(--muted);
  }
  select,
  input[type='text'] {
    font: inherit;
    color: inherit;
    min-height: 3rem;
    max-width: 100%;
    padding: 0 0.75rem;
    border: 1px solid var(--line);
    border-radius: 0.75rem;
    background: var(--surface);
  }
  input[role='switch'] {
    appearance: none;
    flex: none;
    position: relative;
    width: 3.25rem;
    height: 2rem;
    margin: 0.5rem 0;
    border-radius: 1rem;
    background: color-mix(in srgb, var(--muted) 55%, transparent);
    cursor: pointer;
    transition: background-color var(--quick);
  }
  input[role='switch']::before {
    content: '';
    position: absolute;
    inset: 0.1875rem auto 0.1875rem 0.1875rem;
    width: 1.625rem;
    border-radius: 50%;
    background: #fff;
    box-shadow: 0 1px 3px rgb(0 0 0 / 0.25);
    transition: transform var(--quick);
  }
  input[role='switch']::after {
    /* The target is taller than the switch. */
    content: '';
    position: absolute;
    inset: -0.5rem;
  }
  input[role='switch']:checked {
    background: var(--accent);
  }
  input[role='switch']:checked::before {
    transform: translateX(1.25rem);
  }
`;
