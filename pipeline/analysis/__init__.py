"""What the results say: intervals over seeds, tables, figures, and the page that shows them."""
