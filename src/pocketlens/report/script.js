// Tooltips, copying and printing. The report reads well without this script.
(() => {
  const tip = document.getElementById("tip");
  const show = (mark) => {
    const box = mark.getBoundingClientRect();
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const left = box.left + box.width / 2 - tip.offsetWidth / 2;
    const above = box.top - tip.offsetHeight - 10;
    tip.style.left = `${Math.max(8, Math.min(left, document.documentElement.clientWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${above > 8 ? above : box.bottom + 10}px`;
  };
  const hide = () => { tip.hidden = true; };
  for (const mark of document.querySelectorAll("[data-tip]")) {
    for (const event of ["mouseenter", "focus", "click"]) mark.addEventListener(event, () => show(mark));
    for (const event of ["mouseleave", "blur"]) mark.addEventListener(event, hide);
  }
  window.addEventListener("scroll", hide, { passive: true });
  window.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  // A <title> in an SVG is also a browser tooltip, which would cover ours.
  for (const picture of document.querySelectorAll("svg[aria-labelledby]")) {
    const title = picture.querySelector("title");
    picture.setAttribute("aria-label", title.textContent);
    picture.removeAttribute("aria-labelledby");
    title.remove();
  }

  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      let done = "Copied";
      try {
        await navigator.clipboard.writeText(source.textContent);
      } catch {
        getSelection().selectAllChildren(source);
        done = "Selected: press Ctrl+C";
      }
      button.textContent = done;
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  // Paper cannot unfold: print what is folded, but for lists of hundreds.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open]):not(.long)")];
    for (const details of opened) details.open = true;
  });
  window.addEventListener("afterprint", () => { for (const details of opened) details.open = false; });
  document.documentElement.dataset.ready = "yes";
})();
