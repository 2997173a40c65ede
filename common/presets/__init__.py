"""Study presets and radiomics settings, as files."""
