"""A command's result as one HTML page: pictures by Plotly, and every number in a table beside them."""
