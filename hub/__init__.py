"""The hub: verifies the drafts of many sessions in one batch with the target model."""
