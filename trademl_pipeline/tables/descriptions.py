"""Descriptions of columns that are not made of other columns by a stage; the UI shows them beside each."""

KEY_COLUMNS = {
    "symbol": "Name of the instrument.",
    "session": "Session at whose close the values are known.",
    "decision_time": "When one decides with the row: an hour after the session's close.",
    "knowledge_time": "First moment at which the latest of the row's inputs was known.",
}

BARS = {
    "symbol": "Name of the instrument.",
    "session": "Session of the exchange that the bar belongs to.",
    "open": "First price, as traded.",
    "high": "Highest price, as traded.",
    "low": "Lowest price, as traded.",
    "close": "Last price, as traded.",
    "volume": "Units traded.",
    "split_factor": "Shares after a split for each before it, on the ex-date; 1 elsewhere.",
    "dividend": "Cash a share, on its ex-date; 0 elsewhere.",
    "adjusted": "The source gave prices already adjusted for later splits.",
    "event_time": "When the bar closed.",
    "knowledge_time": "First moment at which the bar could be known.",
    "source": "Where it came from.",
    "ingested_at": "When it was fetched; not part of the data version.",
}

REFERENCES = {**BARS, "kind": "Fund, sector, volatility or synthetic."}

MEMBERS = {
    "symbol": "Name of the instrument.",
    "session": "Session on which it belonged to the universe and has a bar.",
}

QUALITY = {
    "check": "What was looked for.",
    "severity": "Whether findings above the limit are an error or a warning.",
    "rows": "Bars looked at.",
    "count": "Findings.",
    "symbols": "Symbols that have any.",
    "share": "Findings over bars.",
    "limit": "Share that may be found.",
    "passed": "The share is within the limit.",
    "examples": "Some of the findings.",
}

MODELS = {
    "fold": "Month of the predictions that the models are for.",
    "fitted": "Month they were trained for; an earlier one where they are not refitted every month.",
    "train_start": "First session whose row may train.",
    "train_end": "Last session that the label of a training row may read.",
    "test_start": "First session predicted.",
    "test_end": "Last session predicted.",
    "embargo": "Whole sessions between train_end and test_start.",
    "rows": "Training rows.",
    "sessions": "Sessions they are of.",
    "symbols": "Symbols they are of.",
    "size": "Preset of the estimators: small, base.",
    "parameters": "Trainable numbers, leaves and weights of the base learners.",
    "train_seconds": "Wall time of the fits; 0 where an earlier month's models go on.",
    "best_iteration": "Rounds or epoch kept of the first base learner.",
    "validation_loss": "Its loss on the inner validation rows; none where nothing was chosen on them.",
    "snapshot": "Snapshot of the lake that the training rows were read at.",
    "model_run": "MLflow run of the fold.",
    "artifact": "Card of the models, below the state folder.",
    "artifact_sha256": "Digest of the card, which names the digest of every file.",
    "ledger_digest": "Digest of the fit ledger.",
    "only_symbols": "Symbols trained on, where the run named some; empty: all.",
    "epochs": "Epochs that the run asked for; 0: as the preset says.",
    "threads": "Threads that the models were fitted with; others add up in another order.",
    "scan": "Backend of the state-space scan that the networks were fitted with.",
}

PREDICTIONS = {
    **KEY_COLUMNS,
    "session": "Session at whose close the decision is taken.",
    "fold": "Month, and the fold whose models predicted it.",
    "model_run": "MLflow run of the models.",
    "snapshot": "Snapshot of the lake that the models learned from.",
    "certificate": "Digest of the certificate of the month.",
}

CHAMPIONS = {
    "fold": "Month as of which the champion serves.",
    "champion": "Fold of the model that serves.",
    "before": "Fold of the model that served before.",
    "challenger": "Fold of the model that was evaluated.",
    "promoted": "The challenger took over.",
    "metric": "What both were compared by.",
    "gain": "Challenger less champion on the decisions of the candidate period; none where there was no evaluation.",
    "low": "Lower end of its interval.",
    "high": "Upper end of its interval.",
    "sessions": "Sessions of the candidate period whose outcome has matured.",
    "rows": "Decisions of the candidate period.",
    "reason": "Why it was decided so.",
}

CROSS_VALIDATION = {
    "fold": "Month whose training rows were split.",
    "symbol": "Name of the instrument.",
    "split": "From 0, the earliest.",
    "train_rows": "Rows that the split's model learned from.",
    "last_label_end": "Last session that a label reads from which it learned.",
    "test_start": "First session it was asked about.",
    "test_end": "Last session it was asked about.",
    "rows": "Outcomes compared.",
    "auc": "Area under the ROC curve; none where all outcomes are alike.",
    "accuracy": "Share of right calls.",
    "majority": "What the more frequent outcome would have had.",
    "correlation": "Of probability and outcome.",
}

NIGHTS = {
    "table_name": "Table that was audited.",
    "month": "Month of it.",
    "passed": "No leak was found.",
    "violations": "Leaks found.",
    "cutoffs": "Sessions after which the future was taken away.",
    "cells": "Values compared.",
    "carried": "Passed before, and neither rows, inputs nor code have changed since.",
    "fingerprint": "Of rows, inputs and code.",
    "as_of": "Month that the night was run for.",
    "run_id": "Dagster run.",
    "recorded_at": "When the run began.",
}
