"""What params.yaml may say, and how it is read; where files lie and how they are written."""
