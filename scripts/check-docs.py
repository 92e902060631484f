"""Checks the documentation: links lead somewhere, commands exist, every topic page is listed in the README."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"")
COMMAND = re.compile(r"^\s*(?:\$ )?pocketlens (\w+)", re.MULTILINE)
SCRIPT = re.compile(r"scripts/([\w-]+)")


def main() -> int:
    """Print every problem; 1 when there is one."""
    from pocketlens.cli import VERBS

    problems = []
    for page in PAGES:
        text = page.read_text("utf-8")
        name = page.relative_to(ROOT)
        for match in LINK.finditer(text):
            link = match.group(1) or match.group(2)
            if "://" not in link and not link.startswith("#") and not (page.parent / link.split("#")[0]).exists():
                problems.append(f"{name}: the link {link} leads nowhere")
        for block in re.findall(r"```(?:bash|sh|console)?\n(.*?)```", text, re.DOTALL):
            for verb in COMMAND.findall(block):
                if verb not in VERBS:
                    problems.append(f"{name}: pocketlens has no verb {verb}")
        for script in SCRIPT.findall(text):
            if not (ROOT / "scripts" / script).exists():
                problems.append(f"{name}: there is no scripts/{script}")
    readme = (ROOT / "README.md").read_text("utf-8")
    for page in PAGES[2:]:
        if f"docs/{page.name}" not in readme:
            problems.append(f"README.md does not link docs/{page.name}")
    print("\n".join(problems) or f"docs: {len(PAGES)} pages in order")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
