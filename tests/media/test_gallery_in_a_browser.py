"""The gallery's script, run by a real browser that a driver page steers over HTTP on this machine.

The driver holds the gallery in a frame, acts on it as a person would, and leaves what it saw in its own text,
which Chromium prints.
"""

from __future__ import annotations

import functools
import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from asyncdiff_api.formats.layout import GALLERY_INDEX, item_key
from asyncdiff_api.formats.manifest import ItemRecord, Outcome, count_records
from asyncdiff_runtime.media import encode
from asyncdiff_runtime.media.gallery import About, gallery_objects
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
    "--virtual-time-budget=30000",
    "--dump-dom",
)
ITEMS = 1201
HOSTILE = "</script><img src=x onerror='parent.pwned = true'><script>parent.pwned = true</script>"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

See = Callable[..., dict[str, object]]
"""Runs steps in a page that has loaded all items and gives what they return."""

DRIVER = """<!doctype html><iframe id="frame" src="{address}" width="1100" height="800"></iframe>
<pre id="seen"></pre>
<script>
const frame = document.getElementById("frame");
const page = () => frame.contentDocument;
const one = (selector) => page().querySelector(selector);
const text = (selector) => one(selector).textContent;
const tiles = () => [...page().querySelectorAll(".tile")];
const until = async (what, holds) => {{
  for (let tries = 0; tries < 400; tries += 1) {{
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }}
  throw new Error(`waited for ${{what}} in vain; the summary says: ${{text("#summary")}}`);
}};
const summary = (words) => until(words, () => text("#summary") === words);
const press = (key) => (page().activeElement ?? page().body).dispatchEvent(
  new frame.contentWindow.KeyboardEvent("keydown", {{ key, bubbles: true, cancelable: true }}));
const type = (words) => {{
  one("#query").value = words;
  one("#query").oninput();
}};
frame.onload = async () => {{
  let seen;
  try {{
    await summary("1,201 items");
    seen = await (async () => {{
{steps}
}})();
  }} catch (error) {{
    seen = {{ error: String(error) }};
  }}
  document.getElementById("seen").textContent = JSON.stringify(seen);
}};
</script>"""


def record(number: int) -> ItemRecord:
    item_id = f"{number:024x}"
    prompt = (
        HOSTILE if number == 3 else f"picture {number} of a fox" if number % 100 == 7 else f"picture {number}"
    )
    values = {
        "id": item_id,
        "outcome": Outcome.FAILED if number == 5 else Outcome.ACCEPTED,
        "block": 0,
        "line": number + 1,
        "prompt": prompt,
        "seed": number,
        "key": None if number == 5 else item_key(0, item_id, "PNG"),
        "message": "set a smaller height" if number == 5 else None,
        "width": 48,
        "height": 32,
        "labels": {"season": ("spring", "autumn")[number % 2]},
    }
    return ItemRecord.model_validate(values)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and keeps no log."""

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prefix")
    records = [record(number) for number in range(ITEMS)]
    picture = encode(Image.linear_gradient("L").resize((48, 32)), "PNG", {}).data
    for key in (one.key for one in records[:60] if one.key):
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(picture)
    for file in gallery_objects(records, About(title="posters", counts=count_records(records))):
        (root / file.key).parent.mkdir(parents=True, exist_ok=True)
        (root / file.key).write_bytes(file.data)
    return root


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def dom(address: str, profile: Path) -> str:
    assert CHROMIUM
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture
def see(folder: Path, site: str, tmp_path: Path) -> See:
    def run(steps: str, address: str = GALLERY_INDEX) -> dict[str, object]:
        driver = tmp_path.name + ".html"
        (folder / driver).write_text(DRIVER.format(address=address, steps=steps))
        printed = dom(f"{site}/{driver}", tmp_path)
        seen = re.search(r'<pre id="seen">(.+?)</pre>', printed, re.DOTALL)
        assert seen, printed[-2000:]
        result = json.loads(html.unescape(seen[1]))
        assert isinstance(result, dict)
        return result

    return run


def test_a_long_list_loads_whole_and_draws_only_what_is_in_sight(see: See) -> None:
    seen = see("""
      const before = tiles().length;
      frame.contentWindow.scrollTo(0, 1e9);
      await until("the last item", () => tiles().some((tile) => tile.title === "picture 1200"));
      return { before, after: tiles().length, left: tiles().some((tile) => tile.title === "picture 0") };
    """)

    assert 0 < int(str(seen["before"])) < 60
    assert 0 < int(str(seen["after"])) < 60
    assert seen["left"] is False


def test_search_finds_items_by_all_words_of_the_prompt(see: See) -> None:
    seen = see("""
      type("FOX 307");
      await summary("1 of 1,201 items");
      const found = tiles().map((tile) => tile.title);
      type("no such words");
      await summary("0 of 1,201 items");
      return { found, hint: text("#empty"), hidden: one("#empty").hidden };
    """)

    assert seen == {
        "found": ["picture 307 of a fox"],
        "hint": "No item matches. Try fewer words.",
        "hidden": False,
    }


def test_labels_and_outcomes_filter(see: See) -> None:
    seen = see("""
      const choose = (name, start) => {
        const select = one(`select[aria-label=${name}]`);
        select.value = [...select.options].find((option) => option.value.startsWith(start)).value;
        select.onchange();
      };
      choose("season", "=spring");
      await summary("601 of 1,201 items");
      choose("season", "");
      choose("Outcome", "=Failed");
      await summary("1 of 1,201 items");
      return { words: text(".tile .words"), badge: text(".tile .badge") };
    """)

    assert seen == {"words": "set a smaller height", "badge": "Failed"}


def test_arrows_move_through_the_items_that_the_search_found(see: See) -> None:
    seen = see("""
      type("fox");
      await summary("12 of 1,201 items");
      tiles()[0].click();
      const path = [text("#prompt")];
      for (const key of ["ArrowLeft", "ArrowRight", "ArrowRight", "ArrowLeft"]) {
        press(key);
        path.push(text("#prompt"));
      }
      const address = frame.contentWindow.location.hash;
      one("#close").click();
      await until("closing", () => !one("#viewer").open && !frame.contentWindow.location.hash);
      return { path, place: text("#place"), address };
    """)

    assert seen == {
        "path": [f"picture {number} of a fox" for number in (7, 7, 107, 207, 107)],
        "place": "2 of 12",
        "address": f"#{107:024x}",
    }


def test_keys_move_over_the_grid_and_scroll_it(see: See) -> None:
    seen = see("""
      const path = [];
      const top = (tile) => Math.round(tile.getBoundingClientRect().top);
      const columns = tiles().filter((tile) => top(tile) === top(tiles()[0])).length;
      tiles()[0].focus();
      for (const key of ["ArrowRight", "ArrowDown", "ArrowUp", "ArrowUp", "End"]) {
        press(key);
        path.push(page().activeElement.title);
      }
      return { path, below: frame.contentWindow.scrollY > 5000, columns };
    """)

    below = f"picture {1 + int(str(seen['columns']))}"
    assert seen["path"] == ["picture 1", below, "picture 1", "picture 1", "picture 1200"]
    assert seen["below"] is True


def test_the_address_of_an_item_opens_it_even_from_a_later_page(see: See) -> None:
    seen = see(
        """
        await until("the large view", () => one("#viewer").open);
        return { prompt: text("#prompt"), details: text("#details") };
        """,
        f"{GALLERY_INDEX}#{1111:024x}",
    )

    assert seen["prompt"] == "picture 1111"
    assert "48 × 32" in str(seen["details"])
    assert "autumn" in str(seen["details"])


def test_a_hostile_prompt_is_shown_and_does_nothing(see: See) -> None:
    seen = see("""
      tiles()[3].click();
      return { prompt: text("#prompt"), caption: text(".tile:nth-child(4) .caption"), pwned: window.pwned ?? false };
    """)

    assert seen == {"prompt": HOSTILE, "caption": HOSTILE, "pwned": False}


def test_a_picture_that_is_not_there_says_so(see: See) -> None:
    seen = see("""
      type("picture 600");
      await summary("1 of 1,201 items");
      await until("the words", () => one(".tile .words"));
      return { words: text(".tile .words") };
    """)

    assert seen == {"words": "The file is not there"}


def test_it_works_as_a_file_without_a_server(folder: Path, tmp_path: Path) -> None:
    printed = dom((folder / GALLERY_INDEX).as_uri(), tmp_path)

    assert re.search(r'<output id="summary"[^>]*>1,201 items</output>', printed)
    assert len(re.findall(r'class="tile', printed)) > 8
    assert printed.count('<span class="words">') == 1  # of the item that failed
