"""From a request to a plan: every name found, every option checked."""
