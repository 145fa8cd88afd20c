"""The networking and security APIs of Istio."""
