"""The page's one script: tables sort by a click on a heading. Without it they stand as written.

Inline, as the page has to work from a memory stick; the page's policy names its hash, so that no
other script runs.
"""

from __future__ import annotations

import base64
import hashlib

SCRIPT = """\
(function () {
  "use strict";
  function value(row, column) {
    var cell = row.cells[column];
    var given = cell.getAttribute("data-order");
    var text = given || (cell.firstChild ? cell.firstChild.textContent.trim() : "");
    var number = parseFloat(text.replace("\\u2212", "-").replace(/^[<>]/, ""));
    var nothing = ["", "\\u2013", "withheld"];
    return { text: text, number: number, empty: nothing.includes(text) };
  }
  function compare(a, b, sign) {
    if (a.empty || b.empty) { return a.empty - b.empty; }
    if (!isNaN(a.number) && !isNaN(b.number)) { return sign * (a.number - b.number); }
    return sign * a.text.localeCompare(b.text);
  }
  function sort(table, heading, column) {
    var up = heading.getAttribute("aria-sort") !== "ascending";
    table.querySelectorAll("thead th").forEach(function (other) {
      other.removeAttribute("aria-sort");
    });
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    var body = table.tBodies[0];
    var rows = Array.from(body.rows);
    var pinned = rows.filter(function (row) { return row.hasAttribute("data-pinned"); });
    var free = rows.filter(function (row) { return !row.hasAttribute("data-pinned"); });
    free.sort(function (a, b) { return compare(value(a, column), value(b, column), up ? 1 : -1); });
    free.concat(pinned).forEach(function (row) { body.appendChild(row); });
  }
  document.querySelectorAll("table[data-sortable]").forEach(function (table) {
    table.querySelectorAll("thead th").forEach(function (heading, column) {
      if (!heading.textContent.trim()) { return; }
      var button = document.createElement("button");
      button.type = "button";
      button.title = "Sort by this column";
      while (heading.firstChild) { button.appendChild(heading.firstChild); }
      heading.appendChild(button);
      button.addEventListener("click", function () { sort(table, heading, column); });
    });
  });
})();
"""


def script_hash() -> str:
    """Source expression of the script in a content security policy."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return f"'sha256-{digest}'"
