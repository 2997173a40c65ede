"""The page as HTML; its script fills it."""

from server.live.script import SCRIPT
from server.live.style import STYLE

PAGE = f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Run</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<main>
<header>
<p class="kicker">Federated study, live</p>
<h1 id="name">Reading the run</h1>
<p class="lead" id="about"></p>
<p class="warning" id="lost" role="alert" hidden></p>
<p class="warning" id="stopped" role="alert" hidden></p>
</header>
<section id="progress" aria-live="polite">
<div class="headline"><span id="percent">0 %</span> <span id="state" class="pill"></span></div>
<div class="bar" id="bar" role="progressbar" aria-label="Done" aria-valuemin="0" aria-valuemax="100"
><div id="filled"></div></div>
<p id="phase"></p>
<dl class="tiles" id="tiles"></dl>
</section>
<section id="waiting" hidden></section>
<section id="refusals" hidden></section>
<section id="performance" hidden></section>
<section id="sites"></section>
<section id="curves" hidden></section>
<section id="phases" hidden></section>
<section id="references" hidden></section>
<section id="log" hidden></section>
<footer><p>Read-only, and reachable from this machine alone. For research use only.</p></footer>
</main>
<noscript>This page needs JavaScript.</noscript>
<script>{SCRIPT}</script>
</body>
</html>
"""
