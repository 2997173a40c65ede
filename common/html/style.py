"""The page's style sheet, for screen and print."""

STYLE = """\
:root {
  --ink: #1a1a1a; --soft: #595959; --line: #dcdcdc; --paper: #fff; --wash: #f6f7f8;
  --accent: #005b8f; --alarm: #8a2c00; --alarm-wash: #fff1e6;
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; color: var(--ink); background: var(--paper);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1180px; margin: 0 auto; padding: 40px 28px 64px; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 .6rem; }
h3 { font-size: 1.02rem; margin: 1.8rem 0 .2rem; }
p { margin: 0 0 .8rem; max-width: 46rem; }
section { margin-top: 3rem; padding-top: 1.6rem; border-top: 1px solid var(--line); }
.kicker { color: var(--accent); font-weight: 600; font-size: .9rem; margin: 0 0 .4rem; }
.lead { color: var(--soft); font-size: 1.05rem; }
.hint, .caption { color: var(--soft); font-size: .9rem; }
.notice, .warning { padding: .7rem 1rem; border-left: 4px solid var(--soft); background: var(--wash); }
.notice { font-size: .95rem; }
.warning {
  border-color: var(--alarm); background: var(--alarm-wash); color: var(--alarm);
  font-size: 1.02rem; max-width: none;
}
.cards { display: flex; flex-wrap: wrap; gap: 16px; margin: 1.4rem 0; }
.card { flex: 1 1 250px; max-width: 26rem; border: 1px solid var(--line); border-radius: 8px; padding: 16px 18px; }
.card h3 { margin: 0; }
.card p { margin: 0; }
.card .patients, .card .interval { color: var(--soft); font-size: .88rem; }
.card .big { font-size: 2.3rem; font-weight: 650; line-height: 1.25; margin-top: .4rem; font-variant-numeric: tabular-nums; }
.card dl { display: grid; grid-template-columns: auto 1fr; gap: 2px 12px; margin: .8rem 0 0; padding-top: .7rem; border-top: 1px solid var(--line); font-size: .88rem; }
.card dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; }
.card dt { color: var(--soft); }
.scroll { overflow-x: auto; margin: .6rem 0 1.2rem; }
table { border-collapse: collapse; font-size: .89rem; line-height: 1.35; font-variant-numeric: tabular-nums; min-width: min(100%, calc(var(--columns) * 9rem)); }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { padding: 7px 12px; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
thead button { all: unset; cursor: pointer; box-sizing: border-box; }
thead button::after { content: "\\00a0\\2195"; color: var(--soft); font-weight: 400; }
thead button:hover { text-decoration: underline; }
thead button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
th[aria-sort="ascending"] button::after { content: "\\00a0\\25B2"; }
th[aria-sort="descending"] button::after { content: "\\00a0\\25BC"; }
thead th { font-weight: 600; color: var(--soft); vertical-align: bottom; border-bottom: 1.5px solid var(--ink); min-width: 5.2rem; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); }
tbody th { font-weight: 500; }
td small { display: block; color: var(--soft); font-size: .82em; white-space: nowrap; }
.columns th, .columns td { padding: 7px 9px; white-space: nowrap; }
.columns thead th, .columns tbody th { min-width: 0; white-space: normal; }
#timing td { white-space: nowrap; }
#refusals td small { white-space: normal; }
tr.level th { padding-left: 28px; font-weight: 400; }
tr.total th, tr.total td { font-weight: 600; border-bottom: 0; }
tr.fusion_decision th, tr.fusion_feature th { font-weight: 650; }
.gallery { display: grid; gap: 12px 24px; margin: 1rem 0; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); align-items: start; }
.gallery.pairs { grid-template-columns: repeat(auto-fill, minmax(min(460px, 100%), 1fr)); }
.gallery.single { display: block; overflow-x: auto; }
#participants .gallery svg { min-width: 560px; }
.gallery.wide { display: block; columns: 2 460px; column-gap: 24px; }
.gallery.wide figure { padding-bottom: 16px; }
.gallery.wide figure:has(svg.whole) { column-span: all; }
figure { margin: 0; break-inside: avoid; }
figure svg { display: block; width: 100%; height: auto; stroke-linejoin: round; stroke-linecap: butt; }
figure svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif !important; }
figcaption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.columns { display: grid; gap: 0 32px; grid-template-columns: repeat(auto-fit, minmax(min(460px, 100%), 1fr)); align-items: start; }
.remarks { margin: .4rem 0 1.2rem; padding-left: 1.2rem; max-width: 46rem; }
.remarks li { margin-bottom: .3rem; }
.settings { columns: 2 420px; column-gap: 32px; margin-top: 1.6rem; }
.settings .group { break-inside: avoid; padding-bottom: .4rem; }
.settings h3 { margin-top: 0; }
.settings .scroll { margin: .2rem 0 1rem; }
.settings table { width: 100%; table-layout: fixed; font-size: .84rem; }
.settings th, .settings td { padding: 4px 8px; text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 0; }
.settings th:first-child { padding-left: 0; position: static; }
.settings td small { white-space: normal; }
pre { font-size: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; background: var(--wash); padding: .8rem 1rem; }
.facts { display: grid; grid-template-columns: minmax(9rem, max-content) 1fr; gap: 6px 24px; margin: 0; font-size: .92rem; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
details summary { cursor: pointer; color: var(--accent); }
footer { margin-top: 3rem; color: var(--soft); font-size: .88rem; }
@media (min-width: 601px) { tbody th { white-space: nowrap; } }
@media (max-width: 600px) {
  main { padding: 22px 16px 48px; }
  h1 { font-size: 1.6rem; }
  th, td { padding: 6px 8px; }
  .facts { grid-template-columns: 1fr; gap: 0; }
  .facts dd { margin-bottom: .6rem; }
}
@media print {
  @page { margin: 14mm; }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  section { margin-top: 1.2rem; padding-top: .8rem; }
  h2, h3, section > p:has(+ .gallery), section > p:has(+ .scroll) { break-after: avoid; }
  .card, tr, .notice, .warning { break-inside: avoid; }
  .scroll, .gallery.single { overflow: visible; }
  #participants .gallery svg { min-width: 0; }
  thead button::after { content: none; }
  table { font-size: 7.6pt; }
  thead th { min-width: 0; }
  th, td { padding: 3px 5px; }
  .gallery, .gallery.pairs { grid-template-columns: repeat(2, 1fr); }
  .gallery.wide { columns: 2; }
  .warning { border: 1.5pt solid var(--alarm); }
}
"""
