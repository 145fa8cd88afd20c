"""The rollouts of a control plane: evidence is gathered, people and services are asked, and steps are taken."""
