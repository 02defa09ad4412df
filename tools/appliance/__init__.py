"""The whole appliance tested as one: `./run appliance`."""
