(function () {
  "use strict";
  function value(row, column) {
    var cell = row.cells[column];
    var given = cell.getAttribute("data-order");
    var text = given || (cell.firstChild ? cell.firstChild.textContent.trim() : "");
    var number = parseFloat(text.replace("\u2212", "-").replace(/^[<>]/, ""));
    var nothing = ["", "\u2013", "withheld"];
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
