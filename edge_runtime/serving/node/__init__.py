"""The DICOM node of edge-serve: takes images by C-STORE, keeps them until they are judged, sends reports on."""
