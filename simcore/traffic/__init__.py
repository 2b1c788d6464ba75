"""Sources and sinks of traffic."""
