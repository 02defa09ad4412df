"""The only code that writes durable things. It knows nothing of stages, MQTT or HTTP."""
