"""Rules that a site can apply only with what it remembers: earlier sums, releases and refusals.

Their checks stand in `client.store`, beside that memory.
"""

from __future__ import annotations

from common.disclosure.rule import Rule, declare
from common.study.model import FEWEST_MASKED

declare(
    Rule(
        name="refusals",
        protects="small counts that refusals would tell, one by one",
        text="A refusal says that a number fell short, and a failure that one was out of range."
        " After this many different questions of a study were refused or failed a hospital answers"
        " nothing more of it, until it is asked about another study that its people have approved.",
        setting="max_refusals",
        remedy="find out why so much was refused; the site's people approve a new study file",
    ),
    Rule(
        name="releases",
        protects="single patients, by asking again with other models",
        text="Measures of a hospital's own test patients and tables of a test set that it holds"
        " alone are each given for at most this many different questions in one study; the same"
        " question again has the same answer.",
        setting="max_releases",
        remedy="go on with the run there is, or have the site's people approve a new study file",
    ),
    Rule(
        name="participants",
        protects="what one hospital contributes to a sum",
        text="The same sum over other hospitals, a second time, would tell by subtraction what"
        " those gave that came or went. A hospital refuses when fewer than this many have changed."
        " Only those do not count that left for good and have signed themselves that their own"
        " numbers may be found so, then or beforehand for the case that they are away for long. One"
        " that lost its keys is let go by the word of the coordinator and of two hospitals, who"
        " together could make that up. A hospital under another key counts as another one. The same"
        " holds for several sums together, and for the test sets that a study names.",
        fixed=FEWEST_MASKED,
        remedy="keep the sites of the earlier sums, change three or more at once, or add the"
        " statement of the one that left (fedlnm-site leave, or the consent that it signed when it"
        " approved: fedlnm-server prepare --without FILE)",
        remedy_here="ask the coordinator for a study with fewer test sets over the same patients",
    ),
    Rule(
        name="membership",
        protects="a patient who joined or left between two runs",
        text="The same question asked before and after a change of a few patients would tell them"
        " by subtraction. A hospital refuses when fewer than this many have changed, or when sums"
        " over several sets of patients would together tell of fewer, whatever a study calls them."
        " Where more have changed at one hospital alone, the difference is their sum, which no"
        " other hospital's patients hide.",
        fixed=10.0,
        decided_here=True,
        remedy="that hospital puts its cohort back, or changes it by at least 10 patients",
    ),
    Rule(
        name="corrections",
        protects="a patient whose values were corrected, or are read otherwise, between two runs",
        text="Where one value or the outcome of a patient is another one than in earlier sums, the"
        " difference of sums before and after is that patient's whole row. A hospital refuses when"
        " a column has changed for fewer than this many, unless its site.toml says corrections ="
        " true.",
        fixed=10.0,
        decided_here=True,
        remedy="that hospital puts the values back, decides with its privacy officer on corrections"
        " = true in its site.toml, or is asked about a study that reads these values as before",
        remedy_here="put the values back, or decide with the privacy officer on corrections = true"
        " in site.toml",
    ),
    Rule(
        name="same_folds",
        protects="the few patients whose folds two dealings with one seed tell",
        text="Folds are dealt by the seed, and then a few patients change places so that no level"
        " is rare in a fold. Another number of folds by the same seed would let others change"
        " places, and differences of sums by fold would be theirs. So the same patients with the"
        " same seed are summed in the same folds.",
        fixed=0.0,
        decided_here=True,
        remedy="give the study another seed, which deals all folds anew",
    ),
    Rule(
        name="privacy_budget",
        protects="patients whose data train networks in several runs and studies",
        text="A hospital with a max_epsilon in its site.toml adds up the privacy loss of all"
        " networks that were trained with noise on any of the same patients. It refuses a study or"
        " a training that would exceed it, and any network trained without noise. Sums and"
        " out-of-fold rows are exact: masks and the other rules protect them, and no epsilon"
        " covers them.",
        fixed=1.0,
        decided_here=True,
        remedy="plan fewer rounds or more noise, or ask that hospital for a larger max_epsilon",
        remedy_here="ask the coordinator for fewer rounds or more noise, or let the privacy officer"
        " decide about max_epsilon in site.toml",
    ),
)
