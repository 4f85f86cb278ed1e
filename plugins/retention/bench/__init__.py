"""What deliveries are measured with: an invented company and stand-ins of the providers. No part of a real delivery."""
