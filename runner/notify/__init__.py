"""Tell others of a run: services by Apprise, webhooks, dead-man pings. Nothing here can change or delay the run."""
