/** Where things lie on the main page: sheet below (upright phone), at the side (turned), or a column (desktop). */
import { css } from 'lit';

export const viewerStyles = css`
  main {
    position: fixed;
    inset: 0;
    overflow: hidden;
  }
  pocket-stage {
    position: absolute;
    inset: 0;
  }
  .top {
    position: absolute;
    inset: calc(0.75rem + env(safe-area-inset-top)) calc(0.75rem + env(safe-area-inset-right)) auto
      calc(0.75rem + env(safe-area-inset-left));
    display: flex;
    justify-content: space-between;
    align-items: center;
    pointer-events: none;
  }
  .top > button {
    pointer-events: auto;
  }
  .top [aria-pressed='true'] {
    color: #12181a;
    background: #ffe08a;
  }
  .mark {
    display: grid;
    place-items: center;
    width: 3rem;
    height: 3rem;
    color: #fff;
  }
  .mark svg {
    width: 2rem;
    height: 2rem;
  }
  pocket-zoom {
    position: absolute;
    bottom: calc(var(--covered, 0px) + 0.75rem);
    left: 50%;
    transform: translateX(-50%);
  }
  .sheet {
    --over: 1;
    position: absolute;
    inset: auto 0 0;
    display: flex;
    flex-direction: column;
    gap: 0.875rem;
    width: min(100%, 36rem);
    max-height: 82dvh;
    margin: 0 auto;
    padding: 0.75rem calc(1rem + env(safe-area-inset-right)) calc(1rem + env(safe-area-inset-bottom))
      calc(1rem + env(safe-area-inset-left));
    border-radius: var(--radius-sheet) var(--radius-sheet) 0 0;
    /* Opaque: a blur of live video behind it would cost a phone more than the picture is worth. */
    background: var(--surface);
    overflow-y: auto;
  }
  .sheet > * {
    flex: none;
  }
  .brand,
  .private {
    display: none;
  }
  .toasts {
    position: fixed;
    z-index: 1;
    inset: calc(4.25rem + env(safe-area-inset-top)) 0.75rem auto;
    width: min(100% - 1.5rem, 34rem);
    margin: 0 auto;
  }

  /* A phone on its side: the picture left, the thumb right. */
  @media (orientation: landscape) and (max-height: 34.99rem) {
    pocket-stage {
      inset-inline-end: clamp(20rem, 46%, 24rem);
    }
    .sheet pocket-panel {
      flex: 1 0 auto;
    }
    .sheet {
      --over: 0;
      inset: 0 0 0 auto;
      width: clamp(20rem, 46%, 24rem);
      max-height: none;
      padding-left: 1rem;
      border-radius: 0;
      background: var(--surface);
    }
  }

  /* A desk or a large tablet. */
  @media (min-width: 56rem) and (min-height: 35rem) {
    main {
      display: grid;
      grid-template-columns: 1fr 25rem;
      gap: 1.5rem;
      padding: 1.25rem 1.5rem 1.25rem 1.25rem;
      background: var(--paper);
    }
    pocket-stage {
      position: relative;
      border-radius: var(--radius-sheet);
    }
    .narrow,
    .top .mark {
      display: none;
    }
    .top {
      justify-content: flex-end;
    }
    .sheet {
      --over: 0;
      position: static;
      width: auto;
      max-height: none;
      padding: 0.5rem;
      gap: 1.25rem;
      border-radius: 0;
      background: none;
    }
    .brand {
      display: flex;
      align-items: center;
      gap: 0.625rem;
      font-size: 1.125rem;
      font-weight: 700;
      letter-spacing: -0.02em;
    }
    .brand .mark {
      width: 2.25rem;
      height: 2.25rem;
      color: var(--ink);
    }
    .brand .wide {
      margin-inline-start: auto;
      background: var(--raised);
    }
    .sheet pocket-panel {
      flex: 1 0 auto;
      padding-top: 1.5rem;
    }
    .private {
      display: flex;
      align-items: center;
      justify-content: center;
      gap: 0.375rem;
      font-size: 0.875rem;
      color: var(--muted);
    }
    .private svg {
      width: 1.125rem;
      height: 1.125rem;
    }
  }
`;
