"""The measuring tools, tried on sizes that prove nothing but that they work."""
