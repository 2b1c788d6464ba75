"""A Docker host: networks, containers, published ports, and the rules that Docker writes for them."""
