"""Which class a query shows, told by its nearest labelled images."""
