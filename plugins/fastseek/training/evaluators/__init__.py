"""How test sets are judged, in the form of fast-reid's evaluators."""
