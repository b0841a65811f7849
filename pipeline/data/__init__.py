"""From a table, a file or a recipe to ``data/P.parquet``: reading, features, targets, parts, and every seed's split."""
