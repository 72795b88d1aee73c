"""Programs that use fanfold as anyone would; each is also a test."""
