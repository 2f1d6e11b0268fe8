"""What is measured of the pages: what survives when their servers are killed, and how long people wait."""
