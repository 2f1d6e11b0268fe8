"""Reading a page as its reader gets it, and a browser that measures one."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

from heed.report import write_report

VOID = {"meta", "link", "img", "br", "hr", "input", "use", "path", "circle"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = (360, 768, 1280)
MEASURE = "<script>name = document.documentElement.scrollWidth - document.documentElement.clientWidth</script></body>"
COLLECT = "<script>onload = () => document.title = Array.from(frames, frame => frame.name).join()</script>"


class Reader(HTMLParser):
    """Reads a page: its text, the addresses that it loads or links to, and whether its tags are balanced."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.words, self.addresses, self.tags, self.ids, self.open = [], [], set(), [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.addresses += [(tag, value) for name, value in attributes if name in ("src", "href", "xlink:href", "data")]
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def read(run):
    return Reader(write_report(run).read_text(encoding="utf-8"))


def dumped(file, *flags):
    """A local page after its scripts have run in a headless browser."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", *flags]
    return subprocess.run([*command, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=60).stdout


def excess_widths(html, folder):
    """By how many pixels a page is wider than a window of each of `WIDTHS`, joined by commas: "0,0,0"."""
    (folder / "page.html").write_text(html.replace("</body>", MEASURE), encoding="utf-8")
    # frames, for a browser's own window cannot be as narrow as a phone
    frames = "".join(f'<iframe src="page.html" style="width:{width}px;height:900px"></iframe>' for width in WIDTHS)
    (folder / "frames.html").write_text(f"<!doctype html>{frames}{COLLECT}")
    shown = dumped(folder / "frames.html", "--allow-file-access-from-files")
    return re.search("<title>(.*?)</title>", shown)[1]
