"""The site's page as a Jinja2 template."""

PAGE = """\
{% macro gallery(found, alt) %}
{% for name, title, svg in found %}
<figure>{{ svg }}<figcaption id="caption-{{ name }}">{{ alt }}: {{ title }}</figcaption></figure>
{% endfor %}
{% endmacro %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{{ site }}: single patients, not to leave the hospital</title>
<style>
{% include "page.css" %}
.stay { border: 3px solid var(--alarm); background: var(--alarm-wash); color: var(--alarm); padding: .9rem 1.2rem; font-size: 1.15rem; max-width: none; font-weight: 650; }
.crops { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(178px, 1fr)); margin: .8rem 0 1.6rem; }
.patient { border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; font-size: .84rem; break-inside: avoid; }
.patient.positive { border-left: 5px solid #D55E00; }
.patient.negative { border-left: 5px solid #0072B2; }
.patient img { display: block; width: 112px; height: 112px; background: #000; image-rendering: pixelated; margin-bottom: 6px; }
.patient b { overflow-wrap: anywhere; }
.patient dl { display: grid; grid-template-columns: 1fr auto; gap: 0 8px; margin: 4px 0 0; font-variant-numeric: tabular-nums; }
.patient dt { color: var(--soft); } .patient dd { margin: 0; }
.heatmaps { display: grid; gap: 18px 24px; grid-template-columns: repeat(auto-fill, minmax(min(540px, 100%), 1fr)); align-items: start; }
.small { display: grid; gap: 10px 20px; grid-template-columns: repeat(auto-fill, minmax(min(230px, 100%), 1fr)); }
@media (max-width: 600px) { .crops { grid-template-columns: 1fr 1fr; } .small { grid-template-columns: 1fr 1fr; } }
</style>
</head>
<body>
<main>
<header>
<p class="stay" role="note">This page shows single patients. It must not leave the hospital.</p>
<p class="kicker">Hospital {{ site }}</p>
<h1>{{ study }}: our own patients</h1>
<p class="lead">Run {{ run }}. Finding: {{ endpoint }}. {{ counts }}.{% if excluded %} {{ excluded }} left out, as their data could not be used.{% endif %}{% if confirmed %} The contours of {{ confirmed }} are used on this hospital's word (column confirmed of cohort.csv).{% endif %}</p>
<p class="notice"><b>For research use only.</b> Not a medical device: do not base the care of a patient on it.</p>
</header>

<section id="outliers">
<h2>Images and contours unlike the others here</h2>
{% if measured %}
<p>More than three robust standard deviations from this hospital's median, among {{ measured }} patients. An outlier need not be wrong: look at it.</p>
{% if outliers %}
<div class="scroll" tabindex="0" role="region" aria-label="Outliers"><table style="--columns: 5">
<thead><tr><th scope="col">Patient</th><th scope="col">What</th><th scope="col">Value</th><th scope="col">Median here</th><th scope="col">Robust SD away</th></tr></thead>
<tbody>{% for one in outliers %}<tr><th scope="row">{{ one.patient }}</th><td>{{ one.measure }}</td><td>{{ "%.4g" | format(one.value) }}</td><td>{{ "%.4g" | format(one.median) }}</td><td>{{ "%+.1f" | format(one.deviations) }}</td></tr>
{% endfor %}</tbody></table></div>
{% else %}<p>None.</p>{% endif %}
{% else %}<p>This study has no images.</p>{% endif %}
</section>

<section id="roc">
<h2>How well the models judge our test patients</h2>
{% if curves %}
<p>ROC curves with pointwise 95% bands (2000 bootstrap samples within each class); AUC with DeLong's 95% interval, or Newcombe's where a model separates the patients wholly and DeLong's would have no width. One hospital has few test patients: bands are wide, and the study's own report is what counts. Where a model separates these few patients wholly, the band has no width: that is how it is computed, not certainty.</p>
{% for title, note, found in curves %}
<h3>{{ title }}</h3><p class="caption">{{ note }}</p>
<div class="small">{{ gallery(found, "ROC curve, " ~ title) }}</div>
{% endfor %}
{% endif %}
{% for line in without %}<p>No curve for {{ line }}.</p>{% endfor %}
{% if not curves and not without %}<p>This hospital has no test patients in the study.</p>{% endif %}
</section>

<section id="maps">
<h2>Where our patients lie to each other</h2>
<p>t-SNE of every block of features. Near points are alike in these features; distances between far groups, and the axes, mean nothing. Filled orange: with the finding; open blue: without. Round: training; triangle: test.</p>
<div class="gallery">{{ gallery(maps, "t-SNE") }}</div>
{% for note in gaps %}<p class="hint">{{ note }}</p>{% endfor %}
</section>

<section id="heatmaps">
<h2>Which patients and features go together</h2>
<p>Standardised features, red high and blue low (colours end at 2.5 SD), patients and features in the order of an average-linkage clustering. The black strip marks patients with the finding.</p>
<div class="heatmaps">{{ gallery(heatmaps, "Clustered heatmap") }}</div>
</section>

<section id="patients">
<h2>Patient by patient</h2>
<p>Probabilities of the finding, worst judged first (by the last model that has one). Crops are the middle slice of what the network saw. Of training patients only the networks' probabilities stand here, each by a training that had not seen the patient: the other models' are not kept at the hospital.</p>
{% for title, rows in patients %}
<h3>{{ title }}: {{ rows | length }} patients</h3>
<div class="crops">
{% for row in rows %}
<div class="patient {{ 'positive' if row.positive else 'negative' }}">
{% if row.crop %}<img src="{{ row.crop }}" alt="Crop of {{ row.patient }}">{% endif %}
<b>{{ row.patient }}</b><br>{{ "with the finding" if row.positive else "without the finding" }}
<dl>{% for model, value in row.probabilities.items() if value is not none %}<dt>{{ labels[model] }}</dt><dd>{{ "%.3f" | format(value) }}</dd>{% endfor %}</dl>
</div>
{% endfor %}
</div>
{% endfor %}
</section>
<footer><p>This page shows single patients. It must not leave the hospital. Made at the hospital from its own files; nothing was sent to anybody.</p></footer>
</main>
</body>
</html>
"""
