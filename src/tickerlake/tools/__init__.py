"""What users run next to the pipeline: demo, doctor, audit, backtest, convert, simulate."""
