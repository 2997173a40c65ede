"""The page as a Jinja2 template. A Python file, as a Flower app carries no .html."""

PAGE = """\
{% macro table(block, caption="") %}
<div class="scroll" tabindex="0" role="region" aria-label="{{ caption or block.title or block.columns[0] }}">
<table style="--columns: {{ block.columns | length }}"{% if block.key %} data-set="{{ block.key }}"{% endif %}{% if block.sortable and block.lines | length > 1 %} data-sortable{% endif %}>
{% if caption %}<caption>{{ caption }}</caption>{% endif %}
<thead><tr>
{% for title in block.columns %}<th scope="col">{{ title }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for line in block.lines %}
<tr{% if line.key %} class="{{ line.key }}" data-row="{{ line.key }}"{% endif %}{% if line.pinned %} data-pinned{% endif %}><th scope="row">{{ line.head }}</th>
{% for cell in line.cells %}<td{% if cell.key %} data-cell="{{ cell.key }}"{% endif %}{% if cell.order is not none %} data-order="{{ cell.order }}"{% endif %}>{% if cell.strong %}<b>{{ cell.text }}</b>{% else %}{{ cell.text }}{% endif %}{% if cell.small %}<small>{{ cell.small }}</small>{% endif %}</td>
{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% endmacro %}
{% macro titled(blocks) %}
{% for block in blocks %}
<h3>{{ block.title }}</h3>
{% if block.note %}<p class="caption">{{ block.note }}</p>{% endif %}
{{ table(block) }}
{% endfor %}
{% endmacro %}
{% macro gallery(section, alt, wide=false) %}
<div class="gallery{% if wide %} wide{% elif figures.get(section, []) | length == 1 %} single{% elif figures.get(section, []) | length in (2, 4) %} pairs{% endif %}">
{% for name, title, svg in figures.get(section, []) %}
<figure>{{ svg }}<figcaption id="caption-{{ name }}">{{ alt }}: {{ title }}</figcaption></figure>
{% endfor %}
</div>
{% endmacro %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src {{ script_hash }}">
<title>{{ results.study.name }}: report</title>
<style>
{% include "page.css" %}
</style>
</head>
<body>
<main>
<header>
<p class="kicker">Federated study report</p>
<h1>{{ results.study.name }}</h1>
<p class="lead">Prediction of {{ results.study.endpoint }}. Started {{ started }}.</p>
<p class="notice"><b>For research use only.</b> Not a medical device: do not base the care of a patient on it.</p>
{% for warning in results.warnings %}
<p class="warning" role="note"><b>Warning.</b> {{ warning }}</p>
{% endfor %}
</header>

<section id="summary">
<h2>What was done and what was found</h2>
{% for text in paragraphs %}<p>{{ text }}</p>
{% endfor %}
<div class="cards">
{% for card in cards %}
<div class="card">
<h3>{{ card.title }}</h3>
<p class="patients">{{ card.patients }}</p>
<p class="big">{{ card.auc }}</p>
<p class="interval">{{ run }} AUC{% if card.interval %}, 95% CI {{ card.interval }}{% endif %}</p>
{% if card.lines %}<dl>{% for name, value in card.lines %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>{% endif %}
</div>
{% endfor %}
</div>
<p class="hint">The AUC is the chance that a patient with the finding is given a higher risk than a patient without it: 0.5 is chance, 1 is perfect.</p>
</section>

{% if participants %}
<section id="participants">
<h2>Which patients took part</h2>
<p>Patients that the hospitals enrolled, how many of them have the finding, and which set they belong to. A patient is left out only where a hospital says so, as the data cannot be used; what hospitals did before they handed in their lists is not known here.</p>
{{ gallery("flow", "Flow of patients") }}
{{ table(participants) }}
</section>
{% endif %}

{% if table1 %}
<section id="table1">
<h2>Who the patients were</h2>
<p>{{ table1.title }}</p>
{{ table(table1) }}
{% if table1.note %}<p class="hint">{{ table1.note }}</p>{% endif %}
</section>
{% endif %}

{% if performance %}
<section id="performance">
<h2>How well each model predicts</h2>
<p>Cut-offs were chosen on the training set by the Youden index and frozen before any test set was looked at. Accuracy, sensitivity and specificity carry their counts of patients below them{% if results.delong %}; P values are DeLong's, in bold below 0.05{% endif %}.{% if references %} {{ references }}{% endif %}</p>
{% if figures.get("overview") %}
{{ gallery("overview", "AUC of every model") }}
<p class="caption">{% if run == "Federated" %}Blue dot: federated, with its 95% confidence interval.{% endif %}{% if pooled %} Open diamond: pooled data.{% endif %}{% if local %} Orange bar: span over hospitals that trained alone, with their mean as a tick.{% endif %}{% if results.ceiling %} Dashed line: ceiling, the best AUC that is possible in synthetic patients.{% endif %}</p>
{% endif %}
{{ titled(performance) }}
{% if methods %}
<p class="hint">How the AUC was computed. {{ methods | join(" ") }}</p>
{% endif %}
{% if local %}
<details><summary>AUC of each hospital that trained alone</summary>
{{ table(local) }}
</details>
{% endif %}
</section>
{% endif %}

{% if figures.get("roc") %}
<section id="roc">
<h2>Sensitivity against false alarms</h2>
<p>ROC curves of the {{ run | lower }} models. The further a curve bends to the upper left, the better; the grey diagonal is chance. Cells of few patients are joined before a curve is drawn, so that the curve of a small test set has few corners; its AUC does not come from these corners.</p>
{{ gallery("roc", "ROC curves") }}
</section>
{% endif %}

{% if figures.get("calibration") %}
<section id="calibration">
<h2>Whether a predicted risk means what it says</h2>
<p>Patients are grouped by predicted risk. On the grey diagonal the share that truly had the finding equals the prediction. The Brier score is the mean squared error of the probabilities: lower is better. Groups too small to be shown are left out.</p>
{{ gallery("calibration", "Calibration") }}
</section>
{% endif %}

{% if figures.get("decision") %}
<section id="decision">
<h2>Whether acting on the model would do more good than harm</h2>
<p>Net benefit of treating the patients above each threshold probability, beside treating everybody and treating nobody. A model helps where its line is the highest.</p>
{{ gallery("decision", "Decision curves") }}
</section>
{% endif %}

{% if per_site %}
<section id="per-site">
<h2>How the models do at each hospital</h2>
<p>AUC with 95% confidence interval of the {{ run | lower }} models among each hospital's own patients of a test set that several hospitals share. One hospital has few test patients: its intervals are wide, and differences between hospitals may be chance.</p>
{{ titled(per_site) }}
</section>
{% endif %}

{% if strata %}
<section id="strata">
<h2>Whether the models hold in subgroups</h2>
<p>AUC with 95% confidence interval of the {{ run | lower }} models, among the patients of one subgroup. The P row tests whether the AUC differs between the subgroups of a column (chi-square, two-sided; not corrected for the number of tests). Small subgroups have wide intervals: a P above 0.05 does not show that there is no difference.</p>
{% if figures.get("strata") %}
{{ gallery("strata", "AUC in subgroups") }}
<p class="caption">One row a model, with its 95% confidence interval; filled and open markers are the subgroups named below each figure. The grey line at 0.5 is chance.</p>
{% endif %}
{{ titled(strata) }}
</section>
{% endif %}

{% if selection or figures.get("lasso") or figures.get("weights") %}
<section id="selection">
<h2>Which features the models use</h2>
<p>Features left after each step of the selection. All steps were fitted on training patients only.</p>
{% if selection %}{{ table(selection) }}{% endif %}
{% for note in selection_notes %}<p class="hint">{{ note }}</p>
{% endfor %}
{% if figures.get("lasso") %}
<h3>Choice of the LASSO penalty</h3>
<p class="caption">Cross-validated squared error at each penalty, on training patients; the grey band is one standard error of the mean over the folds, the dashed line marks the penalty used.</p>
{{ gallery("lasso", "LASSO cross-validation") }}
{% endif %}
{% if figures.get("path") %}
<h3>What each penalty keeps</h3>
<p class="caption">Coefficients (per standard deviation) of the features that are used at the chosen penalty or a larger one: from right to left, features come in as the penalty falls. Thin grey lines are features that left again before the chosen penalty.</p>
{{ gallery("path", "LASSO path") }}
{% endif %}
{% if figures.get("weights") %}
<h3>Weight of each selected feature</h3>
<p class="caption">Filled bars raise the predicted risk, hatched bars lower it. Of many features, those with the largest weights.</p>
{{ gallery("weights", "Weights of the selected features", true) }}
{% endif %}
{% if figures.get("correlation") %}
<h3>How far the selected features say the same</h3>
<p class="caption">Spearman rank correlation of every two selected features over the training patients of all hospitals. Vermilion: they rise together; blue: one falls as the other rises; white: unrelated. An asterisk: P below 0.05 (t approximation, two-sided, not corrected for the number of pairs); tables/correlation.csv has every P. Columns are numbered as the rows are. Features that correlate above the study's threshold were left out before.</p>
{{ gallery("correlation", "Correlation of the selected features", true) }}
{% endif %}
</section>
{% endif %}

{% if fusion %}
<section id="fusion">
<h2>How the decision fusion was chosen</h2>
<p>Stackers that combine the probabilities of the base models, compared by cross-validation on the out-of-fold training probabilities.</p>
{{ table(fusion) }}
</section>
{% endif %}

{% if training %}
<section id="training">
<h2>How the networks learned</h2>
{% if figures.get("training") %}
<p>Each line is one training: one for every cross-validation fold, and the final one on all training patients.</p>
{{ gallery("training", "Training curves") }}
{% endif %}
<details><summary>First and last values</summary>
{{ table(training) }}
</details>
</section>
{% endif %}

{% if privacy %}
<section id="privacy">
<h2>Differential privacy of the networks</h2>
<p>Noise was added in the training of the networks, so that their weights tell little of any one patient: at most epsilon, by the accountant at each site, over all trainings of this run. Epsilon is about the weights of the networks alone, not about the other sums of the study.</p>
{{ table(privacy) }}
</section>
{% endif %}

{% if transfers %}
<section id="transfers">
<h2>What crossed the network</h2>
<p>Messages and bytes between the coordinator and each site in the {{ run | lower }} run. transfers.csv has every line.</p>
<div class="columns">
{% for block in transfers %}{{ table(block) }}{% endfor %}
</div>
</section>
{% endif %}

{% if ledger %}
<section id="ledger">
<h2>What left each hospital</h2>
<p>Replies that each hospital released in the {{ run | lower }} run, by kind, with their size below; and how many releases a disclosure rule held back.{% if results.ledger %} The last column counts the released entries of the hospital's own ledger: it equals the sum of the row's replies, and is larger where a run was interrupted and went on.{% endif %} Sums and weights of sets at three hospitals or more are masked unless the study says otherwise.</p>
{{ table(ledger) }}
</section>
{% endif %}

<section id="refusals">
<h2>What the sites held back</h2>
{% if refusals %}
<p>A disclosure rule of a site refused these releases. The values themselves never left the site.</p>
{{ table(refusals) }}
{% else %}
<p>No release was refused by a disclosure rule.</p>
{% endif %}
</section>

{% if timing %}
<section id="timing">
<h2>How long it took</h2>
{{ table(timing) }}
</section>
{% endif %}

{% if settings %}
<section id="settings">
<h2>What was chosen, and what the paper says of it</h2>
<p>The paper is that of Wang et al., eClinicalMedicine 2024;67:102385. {{ settings_sentence }}</p>
{% if remarks %}
<h3>What differs from the paper, or completes it, and is no setting</h3>
<ul class="remarks">
{% for remark in remarks %}<li>{{ remark }}</li>
{% endfor %}
</ul>
{% endif %}
<div class="settings">
{% for block in settings %}
<div class="group">
<h3>{{ block.title }}</h3>
{{ table(block) }}
</div>
{% endfor %}
</div>
{% if radiomics_file %}
<details><summary>The settings file of the radiomics features</summary>
<pre>{{ radiomics_file }}</pre>
</details>
{% endif %}
</section>
{% endif %}

<section id="facts">
<h2>What is needed to repeat it</h2>
<dl class="facts">
{% for name, value in facts %}<dt>{{ name }}</dt><dd>{{ value }}</dd>
{% endfor %}
</dl>
</section>
<footer><p>For research use only. All numbers on this page stand in results.json in full precision.</p></footer>
</main>
<script>{{ script }}</script>
</body>
</html>
"""
