"""Translations, and sentences said in a language. Front ends speak their user's, the host that of a page's reader."""
