// Texts of the page whose contrast with their ground is below `least` (WCAG 2.2, 1.4.3): [text, ratio].
(least) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d");
  const rgb = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return rgb("Canvas");
  };
  const ratio = (element) => {
    const both = [rgb(getComputedStyle(element).color), ground(element)].map(luminance).sort((x, y) => y - x);
    return (both[0] + 0.05) / (both[1] + 0.05);
  };
  return [...document.querySelectorAll("h1, h2, p, label, button, th, td, caption, li, span")]
    .filter((element) => element.offsetParent && element.innerText.trim())
    .map((element) => [element.innerText, ratio(element)])
    .filter(([, found]) => found < least);
};
