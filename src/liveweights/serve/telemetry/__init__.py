"""What is told to a collector of OpenTelemetry's."""
