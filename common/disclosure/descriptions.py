"""Descriptions of every disclosure rule, in the words of the people who have to approve it.

The rules look their thresholds up here, so every enforced rule is described.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.statistics.rank_gram import FEWEST_ROWS
from common.study.model import FEWEST_MASKED


@dataclass(frozen=True)
class Description:
    """Description of one rule.

    Parameters
    ----------
    protects : what a breach would reveal.
    text : one to three sentences for a data protection officer.
    setting : field of the study's `[privacy]` that holds the threshold; empty when it is fixed.
    fixed : the threshold where no setting holds it.
    """

    protects: str
    text: str
    setting: str = ""
    fixed: float = 0.0


DESCRIPTIONS: dict[str, Description] = {
    "sites": Description(
        "what one hospital contributes to a sum",
        "Sums and weights are masked, which takes at least three hospitals: of two, each could take"
        " its own numbers off the sum and would hold the other's.",
        fixed=FEWEST_MASKED,
    ),
    "masking": Description(
        "what one hospital contributes to a sum",
        "A hospital whose own site file asks for masks takes no part in a study that sends its sums"
        " in the clear: required allows no sum over hospitals without masks, where_possible none"
        " over three hospitals and more.",
        fixed=1.0,
    ),
    "rows": Description(
        "single patients behind a mean, a standard deviation or any other sum",
        "A hospital takes part in sums over training patients only with at least this many, and"
        " gives a mean of a test set that it holds alone only where as many patients have a value."
        " No smallest or largest value is asked for; where a column says how many decimals it"
        " has, the counts of its values over all hospitals are.",
        setting="min_rows",
    ),
    "class": Description(
        "the few patients of the rarer outcome",
        "A hospital trains only with at least this many patients of each outcome.",
        setting="min_per_class",
    ),
    "fold": Description(
        "the few patients of one fold of the cross-validation",
        "Sums are made for each fold, so each fold must hold at least this many of the hospital's"
        " patients.",
        setting="min_rows_per_fold",
    ),
    "fold_class": Description(
        "the few patients of one outcome in one fold",
        "A covariance matrix comes with sums of the positive patients of each fold, so each fold"
        " must hold at least this many of the hospital's patients of each outcome.",
        setting="min_class_per_fold",
    ),
    "paired": Description(
        "the few patients whose tumour was contoured twice",
        "Agreement between readers is told only by hospitals where at least this many patients were"
        " contoured twice; hospitals without any add nothing.",
        setting="min_category",
    ),
    "cells": Description(
        "small cells of a table",
        "A table of a test set that one hospital holds alone leaves it only with cells below this"
        " number withheld or joined, and with a second cell withheld where one could be computed."
        " Median and quartiles of a column leave it only where at least this many patients lie in"
        " each quarter, with no more digits than a table needs.",
        setting="min_cell",
    ),
    "rank_cells": Description(
        "patients that stand out by one feature",
        "Ranks over all hospitals need to know how many patients of all hospitals lie in an"
        " interval of a feature. An interval that is told to hospitals holds none or at least this"
        " many patients.",
        setting="min_rank_cell",
    ),
    "rank_others": Description(
        "patients of the other hospitals in an interval of one feature",
        "A hospital can take its own patients off the number it is told. It refuses intervals in"
        " which the others then have some patients, but fewer than this number.",
        setting="min_rank_others",
    ),
    "support": Description(
        "the few patients in whom a column differs from nearly all others",
        "In a covariance matrix a column with one positive patient is that patient's whole record."
        " Columns enter it only where at least this many patients of all hospitals (of every fold,"
        " where it is made by fold) lie apart from the column's usual value; the counts come with"
        " the question, and a hospital refuses without them or where its own patients contradict.",
        setting="min_category",
    ),
    "bounded": Description(
        "patients with extreme values",
        "Extreme values make single patients recoverable from a covariance matrix. In guarded mode"
        " values are limited before the matrix is made, and a hospital refuses a matrix of columns"
        " that are not. Only where both study and hospital say faithful are they used as they are.",
        fixed=0.0,
    ),
    "scored": Description(
        "whole patients behind a covariance matrix of many columns",
        "Where a matrix has many more columns than patients, the shape of the columns, such as one"
        " long tail, lets a computer search for the patients behind it. In guarded mode columns are"
        " turned into normal scores of their ranks first, which all have the same shape. At most"
        " this many columns, or as many as there are patients, may be without; columns with one"
        " value for more than half of the hospital's patients count among these.",
        setting="max_plain_columns",
    ),
    "ranks": Description(
        "whole patients behind a matrix of ranks",
        "The same search works on ranks of few patients in many columns. With fewer patients in all"
        " than this, and more than twice as many columns, a hospital in guarded mode gives products"
        " of normal scores instead.",
        fixed=FEWEST_ROWS,
    ),
    "consent": Description(
        "patients with extreme values",
        "A study that does not limit extreme values needs this hospital's explicit word in its own"
        " site file.",
        fixed=1.0,
    ),
    "subset": Description(
        "test patients",
        "Nothing that a model is fitted with is computed on test patients.",
        fixed=0.0,
    ),
    "svm_rounds": Description(
        "patients near the boundary of a support vector machine",
        "Each gradient tells a little of the patients near the boundary. At most this many are"
        " given for each machine that the study fits, with all its costs and folds at once,"
        " whatever its runs are called; the same question again counts once. A second derivative is"
        " never given.",
        setting="max_svm_rounds",
    ),
    "svm_cost": Description(
        "patients that a weakly penalised machine would memorise",
        "Costs above 1 let single patients shape a support vector machine. A hospital with fewer"
        " training patients than this refuses a study with such costs.",
        setting="min_rows_weak_penalty",
    ),
    "bin_counts": Description(
        "the few patients in a small branch of a decision tree",
        "A forest that is grown from counts may be at most this deep and split at the edges of the"
        " study's bins alone, and only a study that declares it may ask.",
        setting="max_tree_depth",
    ),
    "weights": Description(
        "what one hospital's patients change in a network",
        "A hospital's change of the weights enters the sum with its share of the training patients,"
        " never with more.",
        fixed=1.0,
    ),
    "out_of_fold_rows": Description(
        "single patients among the pooled predictions",
        "The study's one exchange of rows: probability and outcome of each training patient,"
        " without identifiers, in random order, to three decimals. It takes at least this many"
        " patients.",
        setting="min_oof_rows",
    ),
    "test_rows": Description(
        "single test patients",
        "Measures of a hospital's own test patients are given only where there are at least this"
        " many.",
        setting="min_rows",
    ),
    "test_class": Description(
        "the few test patients of one outcome",
        "Measures of a hospital's own test patients are given only where at least this many have"
        " either outcome.",
        setting="min_per_class",
    ),
    "one_site_scores": Description(
        "test patients of one hospital",
        "A test set that one hospital holds alone is evaluated inside it; sums over its scores are"
        " not given.",
        fixed=2.0,
    ),
    "placements": Description(
        "test patients of the other hospitals with unusual scores",
        "To compare scores across hospitals each is told how many patients of either outcome lie in"
        " an interval of the score: none, or at least this many.",
        setting="min_cell",
    ),
    "levels": Description(
        "patients who are singled out by a question about some of the patients only",
        "Sums over part of the patients are given in one form: histograms of scores, and placements"
        " made of them, for the test patients in one level of a column that the study declares a"
        " stratum. Levels cannot be combined, and a column is cut in two at one place a study,"
        " whatever its runs are called.",
        fixed=1.0,
    ),
    "form": Description(
        "patients that a made-up model or table would single out",
        "Questions name the steps that turn a table into what is summed. A hospital answers only"
        " where these are the steps of a fitted model, each once and in their order: filling,"
        " standardising, normal scores, components, limits, a machine, a probability. Of a test set"
        " that it holds alone it sums the table as it is. Whether the numbers in a step were fitted"
        " or made up, no hospital can see.",
        fixed=1.0,
    ),
    "refusals": Description(
        "small counts that refusals would tell, one by one",
        "A refusal says that a number fell short, and a failure that one was out of range. After"
        " this many different questions of a study were refused or failed a hospital answers"
        " nothing more of it, until it is asked about another study that its people have approved.",
        setting="max_refusals",
    ),
    "releases": Description(
        "single patients, by asking again with other models",
        "Out-of-fold rows, measures of a hospital's own test patients, and tables of a test set"
        " that it holds alone are each given for at most this many different questions in one"
        " study; the same question again has the same answer.",
        setting="max_releases",
    ),
    "participants": Description(
        "what one hospital contributes to a sum",
        "The same sum over other hospitals, a second time, would tell by subtraction what those"
        " gave that came or went. A hospital refuses when fewer than this many have changed. Only"
        " those do not count that left for good and have signed themselves that their own numbers"
        " may be found so. The same holds for several sums together, and for the test sets that a"
        " study names.",
        fixed=FEWEST_MASKED,
    ),
    "membership": Description(
        "a patient who joined or left between two runs",
        "The same question asked before and after a change of a few patients would tell them by"
        " subtraction. A hospital refuses when fewer than this many have changed.",
        fixed=10.0,
    ),
}
