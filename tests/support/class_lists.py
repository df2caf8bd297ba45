"""Class lists of public data sets, as their folders have them: what their recipes must fit."""

# The folders of DermNet's 23 classes, as its train/ and test/ have them on Kaggle
# (shubhamgoel27/dermnet). Melanomas stand in one class with nevi: there is no melanoma class.
DERMNET23 = (
    "Acne and Rosacea Photos",
    "Actinic Keratosis Basal Cell Carcinoma and other Malignant Lesions",
    "Atopic Dermatitis Photos",
    "Bullous Disease Photos",
    "Cellulitis Impetigo and other Bacterial Infections",
    "Eczema Photos",
    "Exanthems and Drug Eruptions",
    "Hair Loss Photos Alopecia and other Hair Diseases",
    "Herpes HPV and other STDs Photos",
    "Light Diseases and Disorders of Pigmentation",
    "Lupus and other Connective Tissue diseases",
    "Melanoma Skin Cancer Nevi and Moles",
    "Nail Fungus and other Nail Disease",
    "Poison Ivy Photos and other Contact Dermatitis",
    "Psoriasis pictures Lichen Planus and related diseases",
    "Scabies Lyme Disease and other Infestations and Bites",
    "Seborrheic Keratoses and other Benign Tumors",
    "Systemic Disease",
    "Tinea Ringworm Candidiasis and other Fungal Infections",
    "Urticaria Hives",
    "Vascular Tumors",
    "Vasculitis Photos",
    "Warts Molluscum and other Viral Infections",
)

# The folders of Kaggle's pacificrm/skindiseasedataset, and the names that the README of
# jarzeckil/skin-disease-recognition gives these 22 classes. Melanomas stand in Skin Cancer, among
# others: there is no melanoma class.
SKIN22_FOLDERS = {
    "Acne": "Acne",
    "Actinic_Keratosis": "Actinic Keratosis",
    "Benign_tumors": "Benign Tumors",
    "Bullous": "Bullous",
    "Candidiasis": "Candidiasis",
    "DrugEruption": "Drug Eruption",
    "Eczema": "Eczema",
    "Infestations_Bites": "Infestations & Bites",
    "Lichen": "Lichen",
    "Lupus": "Lupus",
    "Moles": "Moles",
    "Psoriasis": "Psoriasis",
    "Rosacea": "Rosacea",
    "Seborrh_Keratoses": "Seborrheic Keratoses",
    "SkinCancer": "Skin Cancer",
    "Sun_Sunlight_Damage": "Sun/Sunlight Damage",
    "Tinea": "Tinea",
    "Unknown_Normal": "Unknown/Normal",
    "Vascular_Tumors": "Vascular Tumors",
    "Vasculitis": "Vasculitis",
    "Vitiligo": "Vitiligo",
    "Warts": "Warts",
}
SKIN22 = tuple(SKIN22_FOLDERS.values())
