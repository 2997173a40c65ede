"""Style sheet of the live page: the report's look, and what only this page has."""

from common.html.style import STYLE as REPORT_STYLE

STYLE = (
    REPORT_STYLE
    + """\
[hidden] { display: none !important; }
main { padding-top: 28px; }
section { margin-top: 2rem; padding-top: 1.2rem; }
#progress { border-top: 0; margin-top: .6rem; padding-top: 0; }
.headline { display: flex; align-items: baseline; gap: 16px; flex-wrap: wrap; }
#percent { font-size: 2.6rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.pill { border: 1.5px solid currentColor; border-radius: 999px; padding: 1px 12px; font-weight: 600; color: var(--accent); }
.pill.stopped, .pill.interrupted { color: var(--alarm); }
.pill.finished { color: #006b4e; }
.bar { height: 14px; border: 1px solid var(--soft); border-radius: 7px; overflow: hidden; margin: .3rem 0 .7rem; }
.bar div { height: 100%; width: 0; background: var(--accent); print-color-adjust: exact; }
#phase { font-size: 1.05rem; margin-bottom: 1rem; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px 36px; margin: 0; }
.tiles dt { color: var(--soft); font-size: .86rem; }
.tiles dd { margin: 0; font-size: 1.05rem; font-variant-numeric: tabular-nums; }
table.left td { text-align: left; }
table.left td.number { text-align: right; white-space: nowrap; }
table.left th:not(:first-child):not(.number) { text-align: left; }
td.late { color: var(--alarm); font-weight: 600; }
.panels { display: grid; gap: 14px 20px; grid-template-columns: repeat(auto-fill, minmax(min(210px, 100%), 1fr)); margin: .5rem 0 1.2rem; }
.panels figcaption { position: static; width: auto; height: auto; clip-path: none; overflow: visible; font-size: .86rem; color: var(--soft); }
.axis { stroke: #6b6b6b; stroke-width: 1; fill: none; }
.grid { stroke: #d9d9d9; stroke-width: 1; }
.train { stroke: #0072B2; fill: none; stroke-width: 2; }
.held { stroke: #D55E00; fill: none; stroke-width: 2; stroke-dasharray: 6 3; }
.dot.train { fill: #0072B2; stroke: none; }
.dot.held { fill: #D55E00; stroke: none; }
figure svg text { font-size: 12px; fill: #404040; }
.key { display: flex; gap: 6px 22px; flex-wrap: wrap; font-size: .9rem; color: var(--soft); margin: .3rem 0; }
.key svg { width: 34px; height: 10px; display: inline-block; vertical-align: middle; margin-right: 6px; }
ol.steps { list-style: none; padding: 0; margin: 0; columns: 2 300px; column-gap: 48px; }
ol.steps li { display: flex; gap: 10px; padding: 3px 0; break-inside: avoid; }
ol.steps li span:nth-child(2) { flex: 1; }
ol.steps li.ahead { color: var(--soft); }
ol.steps li.now { font-weight: 650; }
ol.steps .mark { width: 1.2em; text-align: center; }
ol.steps .took { color: var(--soft); font-variant-numeric: tabular-nums; font-weight: 400; }
@media (max-width: 600px) { .panels { grid-template-columns: 1fr 1fr; gap: 10px; } .tiles { gap: 10px 26px; } td { min-width: 4.4rem; } }
"""
)
