"""The page as a Jinja2 template. A Python file, as a Flower app carries no .html."""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Prediction: {{ patient }}</title>
<style>
{{ style }}
</style>
</head>
<body>
<main>
<p class="research"><b>RESEARCH USE ONLY.</b> Not a medical device. No decision about a patient may rest on this page.</p>
<header>
<h1>Predicted risk of {{ endpoint }}</h1>
<p class="who"><b>{{ patient }}</b><span>Study {{ study }}</span><span>{{ when }}</span></p>
</header>
{% for text in warnings %}
<p class="warning"><b>Warning.</b> {{ text }}</p>
{% endfor %}

{% if headline %}
<p class="headline {{ headline.group }}"><span class="big">{{ headline.group | upper }} RISK</span>
<span>by the {{ headline.label | lower }} model: probability <b>{{ headline.probability }}</b>, {{ headline.side }} its cut-off of {{ headline.cutoff }}.{% if headline.note %} {{ headline.note }}{% endif %}</span></p>
{% endif %}

<section>
<h2>What each model says</h2>
<table class="models">
<thead><tr><th>Model</th><th>It looks at</th><th class="number">Probability</th><th class="number">Cut-off</th><th>Risk group</th><th class="scale"><span>0</span><span>0.5</span><span>1</span></th></tr></thead>
<tbody>
{% for row in rows %}
<tr class="{{ row.group or 'none' }}"><th scope="row">{{ row.label }}</th><td>{{ row.looks_at }}</td>
{% if row.group %}<td class="number"><b>{{ row.probability }}</b></td><td class="number">{{ row.cutoff }}</td><td class="group">{{ row.group }}</td>
<td><div class="bar"><i style="width: {{ row.percent }}%"></i><s style="left: {{ row.cut_percent }}%"></s></div></td>
{% else %}<td class="lacks" colspan="4">cannot be used: no {{ row.lacks }}</td>
{% endif %}</tr>
{% endfor %}
</tbody>
</table>
<p class="caption">Probability: how likely the finding is, says the model, in a patient like those of the training hospitals. The black mark on each bar is the model's own cut-off, fixed on the training patients; at or above it the risk group is high. Each model has its own scale: compare a bar with its own mark only.</p>
{% for note in notes %}<p class="note">{{ note }}</p>
{% endfor %}
</section>

<section>
<h2>Inputs outside the training range</h2>
{% if outside %}
<table class="plain"><thead><tr><th>Input</th><th>This patient</th><th>Training patients</th><th>Used by</th></tr></thead><tbody>
{% for one in outside %}<tr><th scope="row">{{ one.column }}</th><td>{{ one.value }}</td><td>{{ one.usual }}</td><td>{{ one.models }}</td></tr>
{% endfor %}</tbody></table>
{% if more %}<p class="note">{{ more }}</p>{% endif %}
<p class="caption">The models have seen next to no patient with such values: trust their probabilities less.{% else %}
<p>None of those that could be checked ({{ checked }}).</p>
<p class="caption">{% endif %} The range reaches {{ limit }} standard deviations to either side of the mean of all training patients, or the ranks that correspond to it.</p>
</section>

{% if crop %}
<section class="pictures">
<h2>The part of the CT that the models saw</h2>
<figure><img src="{{ crop }}" alt="Three planes of the crop with the contour"></figure>
<p class="caption">Cube of {{ side }} mm around the contour (yellow), through its largest section in each direction; grey values from {{ low }} to {{ high }} HU. R, L: the patient's right and left; A, P: front and back; S, I: towards head and feet.</p>
{% if saliency %}
<h2>What moved the 3D network</h2>
<figure><img src="{{ saliency }}" alt="The same planes with the saliency map"></figure>
<p class="caption"><b class="up">Red</b>: grey values here raised the 3D network's probability; <b class="down">blue</b>: they lowered it; no colour: little influence. The strongest colour is that of this patient's strongest voxel, so strengths cannot be compared between patients. The map tells what the network reacted to, not where disease is. Integrated gradients (Sundararajan 2017), smoothed.{% if explained %} {{ explained }}{% endif %}</p>
{% endif %}
</section>
{% endif %}

{% if clinical %}
<section>
<h2>Clinical data as given</h2>
<p class="values">{% for name, value in clinical %}<span>{{ name }} <b>{{ value }}</b></span>{% endfor %}</p>
</section>
{% endif %}

<footer>
<p><b>Research use only.</b> Models: {{ verified }}; bundle SHA-256 <code>{{ digest }}</code>. Software: {{ software }}. Made on this hospital's own machine; nothing was sent anywhere.</p>
</footer>
</main>
</body>
</html>
"""

STYLE = """\
:root { --ink: #1a1a1a; --soft: #565656; --line: #d9d9d9; --high: #b3330f; --low: #1d6a9c; }
* { box-sizing: border-box; }
html { font-size: 14px; }
body { margin: 0; color: var(--ink); font: 1rem/1.42 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 20px 24px; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: .7rem 0 .15rem; }
h2 { font-size: 1.02rem; margin: .9rem 0 .3rem; }
p { margin: 0 0 .4rem; }
.research { background: #fff1e6; border: 2px solid #8a2c00; color: #8a2c00; padding: .3rem .7rem; text-align: center; }
.who span { margin-left: 1.4em; color: var(--soft); }
.warning { border-left: 5px solid #8a2c00; background: #fff1e6; color: #8a2c00; padding: .35rem .7rem; }
.headline { display: flex; gap: 1em; align-items: center; border: 1px solid var(--line); border-left: 6px solid var(--low); padding: .45rem .8rem; margin-top: .5rem; }
.headline.high { border-left-color: var(--high); }
.headline .big { font-size: 1.35rem; font-weight: 700; white-space: nowrap; color: var(--low); }
.headline.high .big { color: var(--high); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 10px 3px 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: middle; }
thead th { font-weight: 600; color: var(--soft); font-size: .86rem; border-bottom-color: var(--ink); vertical-align: bottom; }
tbody th { font-weight: 600; }
.models th, .models td { white-space: nowrap; }
.models .number { text-align: right; padding-right: 22px; }
.models td:nth-child(2) { color: var(--soft); }
.models .scale { width: 27%; padding-right: 0; }
.models .scale span { display: inline-block; width: 33.3%; text-align: center; }
.models .scale span:first-child { text-align: left; }
.models .scale span:last-child { text-align: right; }
.models td:last-child { padding-right: 0; }
.high .group { color: var(--high); font-weight: 700; }
.low .group { color: var(--low); font-weight: 700; }
.lacks { color: var(--soft); font-style: italic; }
.bar { position: relative; height: 13px; background: #ececec; }
.bar i { position: absolute; left: 0; top: 0; bottom: 0; background: var(--low); }
.high .bar i { background: var(--high); }
.bar s { position: absolute; top: -3px; bottom: -3px; width: 3px; margin-left: -1.5px; background: #000; }
.caption { color: var(--soft); font-size: .86rem; margin-top: .25rem; }
.note { border-left: 4px solid var(--soft); padding-left: .6rem; font-size: .92rem; }
figure { margin: 0; }
figure img { display: block; width: 100%; }
.up { color: #e0452c; }
.down { color: #1f78d1; }
.values span { display: inline-block; margin-right: 1.5em; color: var(--soft); }
.values b { color: var(--ink); font-weight: 600; }
footer { border-top: 1px solid var(--line); margin-top: .8rem; padding-top: .4rem; color: var(--soft); font-size: .78rem; }
code { overflow-wrap: anywhere; }
@media print {
  @page {
    size: A4; margin: 9mm 12mm 11mm;
    @bottom-center { content: "RESEARCH USE ONLY \\2014  not a medical device"; font: 7.5pt sans-serif; color: #8a2c00; }
  }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  html { font-size: 8.4pt; }
  body { line-height: 1.26; }
  main { max-width: none; padding: 0; }
  h2 { break-after: avoid; margin: .6rem 0 .2rem; }
  figure img { width: 66%; margin: 0 auto; }
  tr, .warning, .note, figure { break-inside: avoid; }
}
"""
