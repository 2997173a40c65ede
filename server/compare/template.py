"""The page of a comparison as a Jinja2 template."""

PAGE = """\
{% macro table(block) %}
<div class="scroll" tabindex="0" role="region" aria-label="{{ block.title or block.columns[0] or 'Effort' }}">
<table style="--columns: {{ block.columns | length }}"{% if block.key %} data-set="{{ block.key }}"{% endif %}>
<thead><tr>{% for title in block.columns %}<th scope="col">{{ title }}</th>{% endfor %}</tr></thead>
<tbody>
{% for line in block.lines %}
<tr{% if line.key %} class="{{ line.key }}" data-row="{{ line.key }}"{% endif %}><th scope="row">{{ line.head }}</th>
{% for cell in line.cells %}<td{% if cell.key %} data-cell="{{ cell.key }}"{% endif %}>{{ cell.text }}{% if cell.small %}<small>{{ cell.small }}</small>{% endif %}</td>
{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% endmacro %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ first.name }} and {{ second.name }}: comparison</title>
<style>
{% include "page.css" %}
tbody td { overflow-wrap: anywhere; }
ul.names { padding-left: 1.2rem; margin: .2rem 0 1rem; font-size: .9rem; overflow-wrap: anywhere; }
</style>
</head>
<body>
<main>
<header>
<p class="kicker">Two runs compared</p>
<h1>{{ first.name }} and {{ second.name }}</h1>
<p class="lead">A difference is always the second run less the first.</p>
<dl class="facts">
{% for name, run in (("First", first), ("Second", second)) %}
<dt>{{ name }}</dt><dd><b>{{ run.name }}</b>: study {{ run.results.study.name }}, {{ label(run.run) | lower }}, started {{ moment(run.results.run.started) }}</dd>
{% endfor %}
</dl>
<p class="notice"><b>For research use only.</b> Not a medical device: do not base the care of a patient on it.</p>
{% for text in warnings %}<p class="warning" role="note"><b>Warning.</b> {{ text }}</p>
{% endfor %}
</header>

<section id="auc">
<h2>How well each model predicts</h2>
<p>Area under the ROC curve (AUC) with its 95% confidence interval below it. {{ no_test }}</p>
<div class="gallery">
{% for name, title, svg in figures %}
<figure>{{ svg }}<figcaption id="caption-{{ name }}">AUC of both runs: {{ title }}</figcaption></figure>
{% endfor %}
</div>
<p class="caption">Filled blue dot and solid line: {{ first.name }}. Open diamond and dashed line: {{ second.name }}.</p>
{% for block in auc %}
<h3>{{ block.title }}</h3>
<p class="caption">{{ block.note }}</p>
{{ table(block) }}
{% endfor %}
</section>

<section id="settings">
<h2>What was set differently</h2>
{% if settings is none %}
{% for run in (first, second) %}{% if run.note %}<p>{{ run.name }}: {{ run.note }}. So settings cannot be compared.</p>{% endif %}{% endfor %}
{% elif settings.lines %}
<p>Settings of the study, defaults included; keys of the sites are left out. {{ settings.note }}</p>
{{ table(settings) }}
{% else %}
<p>Nothing: both runs have the same settings.</p>
{% endif %}
</section>

{% if features %}
<section id="features">
<h2>Which features were chosen</h2>
{{ table(features) }}
{% for arm, both, one, two in names %}
<details><summary>{{ arm }}: by name</summary>
{% for title, found in (("In both", both), ("Only in " ~ first.name, one), ("Only in " ~ second.name, two)) %}
{% if found %}<h3>{{ title }}</h3><ul class="names">{% for name in found %}<li>{{ name }}</li>{% endfor %}</ul>{% endif %}
{% endfor %}
</details>
{% endfor %}
</section>
{% endif %}

<section id="effort">
<h2>How long it took, and what crossed the network</h2>
{{ table(effort) }}
</section>

<section id="software">
<h2>What ran it</h2>
{% if software.lines %}<p>{{ software.note }}</p>{{ table(software) }}
{% else %}<p>The same software, engine and kind of machine.</p>{% endif %}
</section>
<footer><p>For research use only. Made from the results.json of both runs, which hold nothing of a single patient.</p></footer>
</main>
</body>
</html>
"""
